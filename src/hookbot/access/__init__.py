"""Access control: tokens, sources and limits decide about publishers, subscribers and operators.

`AccessControl` (control) decides about a request, by path, token, source and limits, and returns what it admitted: an
`AdmittedPublish` or an `AdmittedSubscription` (admitted). It asks the `Authorizer` for the `Grant` of a token
(tokens, narrowed_tokens), the `Sources` for the sender that has to prove itself by a signature, and `RateLimiter`s
how often a client network may come (rate_limits, client_address). `ActiveSubscriptions` end when their token expires
or is revoked. `Fetches` gets what a signature needs from elsewhere (fetching), and the `RangeList`s that senders
publish are networks to admit (ip_ranges). `hookbot.web` asks about each request; `hookbot.hub` makes the control from
its configuration.
"""
