"""The running whole: configuration, the one nursery, reload, shutdown.

A `Config` holds everything that a hub is started with: options, secrets from the secret store, and the `ConfigFile`,
whose sections become sources and routers. `run_hub` opens the log, the broker, the routers, the app and the fast path
in `open_hub`, each around the next, and waits for signals: SIGHUP recreates access control and TLS from the
configuration and hands them to the running hub, SIGTERM ends subscriptions and requests within the grace, then the
rest.

``hookbot serve`` and `hookbot.testing` call it; nothing below knows a `Config`.
"""
