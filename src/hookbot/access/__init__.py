"""Access control: tokens, sources and limits for publishers, subscribers and operators.

`AccessControl` (control) admits or refuses a request by path, token, source and limits; an admitted one becomes an
`AdmittedPublish` or an `AdmittedSubscription` (admitted). What it decided about a target and a token, it remembers as a
`Permit` (permits). Its `TokenChecks` (token_checks) get the `Grant` of a token from the `Authorizer` (tokens,
narrowed_tokens). It finds the `Source` whose signature a topic requires in `Sources` (sources), has it verified by the
`Verifier` (verifier), which remembers whose requests were genuine (senders), and counts requests of each client network
with `RateLimiter`s (rate_limits, client_address), those of each topic in `Quotas` (quotas). `ActiveSubscriptions`
limits the number of subscriptions, and ends those whose token expires or is revoked (active_subscriptions). `Fetches`
downloads the certificates and confirmation URLs that signed requests refer to (fetching). A `RangeList` holds the
networks that a sender publishes, for `allow_from` (ip_ranges). Hubs tell each other the address of a client in a signed
header (relayed). A request to the API has a `Scope` (scope), by its tokens or by those of the session of a browser
(session). `Refusals` holds what was refused lately, and no secret of it (refusals, request_fields, masking), and what
operators do is logged (audit); a `SourceActivity` counts what a source accepted and refused (source_activity), and
sample deliveries test it (sample_deliveries). `hookbot.web` calls access control for each request; `hookbot.hub` builds
it from the configuration.
"""
