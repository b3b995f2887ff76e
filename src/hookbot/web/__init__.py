"""Everything that answers HTTP, with the `Services` of a running hub.

Two ways in, one set of rules. The app (app, on Quart-Trio, served by `asgi`) has every route; the fast path
(`fastpath`) answers plain publishes and websockets without the framework, and hands everything else over to the app.
Both admit requests by `hookbot.access`, run the flows of `publish` and `subscribe`, and keep to the same limits
(limits, tls). `Streams` are subscriptions as frames (streams); operators ask for health, metrics, cursors and routers
(operations, metrics).
"""
