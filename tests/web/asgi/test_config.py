"""Hypercorn's configuration, made from the hub's limits."""

from hookbot.web.asgi.config import ServingConfig
from hookbot.web.limits import ConnectionLimits


def test_hypercorn_keeps_to_the_hubs_limits_and_logs_nothing() -> None:
    config = ServingConfig(ConnectionLimits(max_head_bytes=1000, max_message_bytes=2000, ping_s=3), lambda *_: None)

    assert config.h11_max_incomplete_size == config.h2_max_header_list_size == 1000
    assert config.websocket_max_message_size == 2000
    assert config.websocket_ping_interval == 3
    assert (config.accesslog, config.errorlog, config.include_server_header) == (None, None, False)
