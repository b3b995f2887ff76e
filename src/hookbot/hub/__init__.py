"""The running hub: configuration, startup, reload and shutdown.

`Config` (config) holds everything that a hub is started with: options, secrets (secret_store), and the `ConfigFile`
(config_file), whose sections become sources and routers (sections). `open_hub` (hub) opens log, broker, routers, app
and fast path, each around the next, behind the sockets of `listening`. `run_hub` keeps it open until SIGTERM or SIGINT
starts the shutdown, which is graceful within `grace_s`; SIGHUP rebuilds access control and TLS from the configuration
(reload). systemd is told of all this, and may hand over the sockets (systemd). What is logged is written as text or
JSON (logging_setup), without a flood (repeats) and without waiting (background_output). What the process
itself shows at ``/metrics`` is in metrics.

``hookbot serve`` and `hookbot.testing` call it; no package below imports `Config`.
"""
