"""Access control and TLS from the configuration, when the hub starts and when it reloads."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields, replace

from ..access.audit import audit
from ..access.authorizer import Authorizer
from ..access.control import AccessControl
from ..access.fetching import Fetch, Fetches, fetch_small
from ..access.quotas import Quotas
from ..access.sources import Sources
from ..alerts.backlogs import BacklogRule
from ..alerts.watching import Alerts
from ..broker.broker import Broker
from ..errors import ConfigError
from ..protocol.message import wall_clock_us
from ..routers.threads import START_LIMIT_S, run_within_limit
from ..web.tls import Tls, make_context
from .answer_section import read_reply_rules
from .bind_address import BindAddress
from .config import Config
from .digests import configuration_digests
from .ineffective import ineffective
from .sections import read_alerts, read_quotas, read_sources, unless_wrong

NEED_RESTART = frozenset(
    {
        *(
            "data_dir",
            "bind",
            "store",
            "advertise",
            "routers",
            "at_rest_keys",
            "door",
            "console",
            "max_body_bytes",
            "max_receiving_bytes",
        ),
        "max_connections_per_address",
        *("heartbeat_s", "ping_s", "deaf_s", "stall_s", "slow_s", "grace_s"),
    }
)
"""Fields of `Config` that a reload does not change."""

logger = logging.getLogger(__package__)

Reread = Callable[[], Config]
"""Function that reads the configuration again, in a thread. It may raise `ConfigError`."""


def make_access_control(
    config: Config, clock_us: Callable[[], int] = wall_clock_us, fetch: Fetch = fetch_small
) -> AccessControl:
    """Access control with the keys, sources and limits of the configuration. Raises `ConfigError`."""
    return AccessControl(
        make_authorizer(config),
        clock_us=clock_us,
        sources=Sources(unless_wrong(read_sources(config))),
        fetches=Fetches(fetch),
        proxies=config.trusted_proxies,
        failures=config.failure_rate,
        publishes=config.publish_rate,
        max_subscribers=config.max_subscribers,
        max_subscribers_per_token=config.max_subscribers_per_token,
        quotas=Quotas(unless_wrong(read_quotas(config))),
        unsafe_prefixes=config.unsafe_prefixes,
        max_body_bytes=config.max_body_bytes,
        origins=config.cors_origins,
        public_url=config.public_url,
        replies=read_reply_rules(config),
    )


def make_authorizer(config: Config) -> Authorizer:
    """Authorizer with the keys and revocations of the configuration."""
    return Authorizer(
        config.keys,
        digests=("sha1", "sha256") if config.sha1_tokens else ("sha256",),
        live_only={"sha1"} if config.sha1_tokens_live_only else (),
        revoked=config.revoked,
    )


def make_tls(config: Config) -> Tls | None:
    """TLS for connections, or None without a certificate. Raises `ConfigError`, also if `bind` needs one."""
    files = {"sslcrt": config.tls_certificate, "sslkey": config.tls_key, "sslca": config.tls_client_authorities}
    tls = None
    try:
        context = make_context(*files.values())
        if context and config.tls_certificate:
            tls = Tls(context, config.tls_certificate.read_bytes())
    except (ConfigError, OSError) as error:
        raise config.error(next(name for name, file in files.items() if file), str(error)) from None
    for address in config.bind:
        if not tls and BindAddress.parse(address).scheme == "https":
            raise config.error("bind", f"{address!r} needs a certificate: sslcrt and sslkey")
    return tls


class Reloads:
    """Numbers of reloads of a hub, and the time from which it has its present configuration."""

    def __init__(self, clock_us: Callable[[], int]) -> None:
        self.succeeded = self.failed = 0
        self.last_failed = False
        self.at_us = clock_us()
        self._clock_us = clock_us

    async def count(self, reload: Callable[[Reread], Awaitable[None]], reread: Reread) -> None:
        """Reload, and count it. Raises as `reload`."""
        try:
            await reload(reread)
        except ConfigError:
            self.failed += 1
            self.last_failed = True
            raise
        self.succeeded += 1
        self.at_us, self.last_failed = self._clock_us(), False


async def reload(
    access: AccessControl, tls: Tls | None, broker: Broker, alerts: Alerts, initial: Config, reread: Reread
) -> None:
    """Replace keys, sources, limits, retention, alerts and certificates in the hub; none if it raises `ConfigError`.

    Changes since the `initial` configuration that need a restart are logged. The other hubs of a family are told.
    """
    # Everything that can fail comes before the first change; and everything that reads files, in a thread: a file may
    # be a pipe that nobody writes to, or on a disk that hangs.
    try:
        config, new, rules, new_tls, digests = await run_within_limit(lambda: _prepare(reread, initial))
    except TimeoutError:
        raise ConfigError(
            f"its files could not be read within {START_LIMIT_S:g} s: one of them is a pipe, or its disk hangs"
        ) from None
    if (new_tls is None) is not (tls is None):
        raise ConfigError("TLS cannot be turned on or off by a reload: restart the hub")
    if tls and new_tls:
        tls.adopt(new_tls)
    revoked = new.tokens.authorizer.revoked - access.tokens.authorizer.revoked
    access.adopt(new)
    broker.retain(config.retention)
    alerts.rules = rules
    broker.log.duties.tell_configuration(digests)
    audit("the configuration was reloaded", by="SIGHUP", revoked=",".join(sorted(revoked)))
    for setting in ineffective(config):
        logger.warning("%s", setting)
    changed = {field.name for field in fields(Config) if getattr(initial, field.name) != getattr(config, field.name)}
    if initial.file.routers != config.file.routers:
        changed.add("routers")
    if waiting := changed & NEED_RESTART:
        logger.warning("changes to these options need a restart: %s", ", ".join(sorted(waiting)))


def _in_force(config: Config, initial: Config) -> Config:
    """The configuration after a reload, without what needs a restart."""
    kept = {name: getattr(initial, name) for name in NEED_RESTART}
    return replace(config, **kept, file=replace(config.file, routers=initial.file.routers))


def _prepare(reread: Reread, initial: Config) -> tuple[Config, AccessControl, Sequence[BacklogRule], Tls | None, str]:
    config = reread()
    digests = configuration_digests(_in_force(config, initial))
    return config, make_access_control(config), unless_wrong(read_alerts(config)), make_tls(config), digests
