"""What the configuration makes of the gate, when the hub starts and whenever it reads its configuration again."""

import logging
import ssl
from dataclasses import fields
from time import time_ns

from ..access.active_subscriptions import ActiveSubscriptions
from ..access.authorizer import Authorizer
from ..access.control import AccessControl
from ..access.sources import Sources
from ..errors import ConfigError
from ..web.tls import Tls, make_context
from .config import Config
from .sections import read_sources, unless_wrong

NEED_RESTART = frozenset(
    {
        *("data_dir", "bind", "store", "routers", "retention", "door", "max_body_bytes", "max_receiving_bytes"),
        *("heartbeat_s", "ping_s", "deaf_s", "stall_s", "slow_s", "grace_s"),
    }
)
"""The parts of a `Config` that a running hub does not take over."""

logger = logging.getLogger("hookbot.reloading")


def make_access(config: Config) -> AccessControl:
    """The gate that the configuration describes; raises `ConfigError`."""
    return AccessControl(
        make_authorizer(config),
        active=ActiveSubscriptions(
            max_subscribers=config.max_subscribers, max_per_token=config.max_subscribers_per_token
        ),
        clock_us=lambda: time_ns() // 1000,
        sources=Sources(unless_wrong(read_sources(config))),
        proxies=config.trusted_proxies,
        failures=config.failure_rate,
        publishes=config.publish_rate,
        unsafe_prefixes=config.unsafe_prefixes,
        max_body_bytes=config.max_body_bytes,
        origins=config.cors_origins,
    )


def make_authorizer(config: Config) -> Authorizer:
    """Whose tokens the hub honours."""
    return Authorizer(
        config.keys,
        digests=("sha1", "sha256") if config.sha1_tokens else ("sha256",),
        live_only={"sha1"} if config.sha1_tokens_live_only else (),
        revoked=config.revoked,
    )


def make_tls(config: Config) -> ssl.SSLContext | None:
    """What connections are encrypted with; None for plain ones. Raises `ConfigError`."""
    return make_context(config.tls_certificate, config.tls_key, config.tls_client_authorities)


def reload(access: AccessControl, tls: Tls | None, began: Config, config: Config) -> None:
    """Take over keys, sources, limits and certificates, all or, when `ConfigError` is raised, none of them.

    `began`: what the hub was started with. What it cannot take over is logged.
    """
    new, context = make_access(config), make_tls(config)
    if (context is None) is not (tls is None):
        raise ConfigError("whether the hub speaks TLS is decided when it starts")
    if tls and context:
        tls.context = context
    access.adopt(new)
    logger.info("the configuration was read again")
    changed = {field.name for field in fields(Config) if getattr(began, field.name) != getattr(config, field.name)}
    if began.file.routers != config.file.routers:
        changed.add("routers")
    if waiting := changed & NEED_RESTART:
        logger.warning("these have changed, and need a restart: %s", ", ".join(sorted(waiting)))
