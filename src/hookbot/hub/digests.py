"""Digests of what the hubs of a store must have in common, by which each can say in what another one differs."""

import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import astuple
from typing import Any

from ..errors import ConfigError
from ..log.sealing import key_id
from ..routers.runner import name_of
from .config import Config
from .secret_store import is_reference, resolve_secret

# Two parts that differ have the same one by chance in one of four billion cases.
_DIGITS = 8


def configuration_digests(config: Config) -> str:
    """A digest of each part of the configuration that all hubs of a store must share, as JSON, without any secret.

    What belongs to one hub is not among them: its address, directory, certificate, proxies and limits on clients.
    """
    return json.dumps({name: _digest(config.key.value, name, part) for name, part in _parts(config).items()})


def _parts(config: Config) -> Mapping[str, Any]:
    """The parts by name; what has no order to a hub is sorted, and secrets are what they are and not where."""
    routers = [name_of(router) for router in config.routers]
    return {
        "key": "",
        "old-keys": sorted(set(config.old_keys)),
        "at-rest-key": list(map(key_id, config.at_rest_keys)),
        "github-secrets": sorted({secret.value for secret in config.github_secrets}),
        "sources": sorted(map(_canonical, config.file.sources)),
        "alerts": sorted(map(_canonical, config.file.alerts)),
        "routers": {name: config.file.routers.get(name, {}) for name in routers},
        "unsafe": sorted(set(config.unsafe_prefixes)),
        "retention": astuple(config.retention),
        "replies": [sorted(config.reply_prefixes), config.reply_timeout_s, config.file.reply_default],
        "max-body": config.max_body_bytes,
        "no-sha1": config.sha1_tokens,
        "plain-tokens": config.sha1_tokens_live_only,
        "revoked": sorted(config.revoked),
        "cors-origin": sorted(set(config.cors_origins)),
    }


def _digest(key: str, name: str, part: Any) -> str:
    # Without the key, an HMAC by it tells nothing of the text, also where that could be guessed. It confirms a guess of
    # the key itself, but so does each token, which is an HMAC by it, too: a key has to be random. No digest is the
    # beginning of a token: those are made of paths, which begin with "/".
    text = f"configuration of a hub: {name}: {_canonical(part)}"
    return hmac.new(key.encode("utf-8", "surrogateescape"), text.encode(), "sha256").hexdigest()[:_DIGITS]


def _canonical(value: Any) -> str:
    """The same text for the same values: TOML has dates, which JSON has not."""
    return json.dumps(_resolved(value), sort_keys=True, default=str)


def _resolved(value: Any) -> Any:
    """A value with the secrets to which it refers."""
    if isinstance(value, Mapping):
        return {name: _resolved(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_resolved(one) for one in value]
    if is_reference(value):
        # What is no secret may begin like a reference.
        with suppress(ConfigError):
            return resolve_secret(value)
    return value
