"""HTTP: the app, the fast path, and the publish and subscribe flows that both of them run.

Two ways in, one set of rules. The app (`app`, on Quart-Trio, served by `asgi`) has every route; the fast path
(`fastpath`) answers plain publishes and websockets without the framework, and hands all other connections over to the
app. Both admit requests through `hookbot.access`, run the flows in `publish` and `subscribe`, and enforce the same
`limits`. `Services` are the parts of a running hub that both share. A `Stream` encodes a subscription as frames
(`streams`); one to a cursor or a group that another hub serves is relayed (`relay`, `upstream`). Each request that was
answered may be a line of `access_log`. Health checks are in `health`; what ``/metrics`` shows is in `metrics`, what it
loads for that in `figures`, and its format in `prometheus`.
"""
