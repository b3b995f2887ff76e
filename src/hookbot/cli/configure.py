"""The configuration of a hub, from the options of ``hookbot serve``, the file, variables and secrets."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click

from ..hub.config import Config
from ..hub.config_file import ConfigFile
from ..hub.secret_store import StoredSecret, read_revoked
from ..log.postgres_address import PostgresAddress
from ..log.retention import Retention
from .config_option import FILE, places_of
from .credentials import find_github_secret, find_key, find_old_github_secrets, find_old_keys
from .parameters import Given
from .retention_sections import read_budgets

# Defaults of --keep-bytes and --keep-unsafe-bytes, by store.
KEPT_ON_DISK = 1 << 30, 256 << 20
KEPT_IN_MEMORY = 64 << 20, 32 << 20


def find_config(context: click.Context, *, make: bool = True) -> Config:
    """Configuration from options, environment and file, with the secrets; raises `ConfigError`.

    With `make`, a key and, if a GitHub router needs it, a secret for GitHub are generated and stored if there is none.
    Without it, as at a reload, and with a store that hubs share, a missing one is an error.
    """
    from ..hub.sections import needs_github_secret

    given, options = context.obj, context.params
    data_dir: Path = options["data_dir"]
    file: ConfigFile = context.meta[FILE]
    github = needs_github_secret(options["routers"], file.routers)
    shared = isinstance(options["store"], PostgresAddress)
    return make_config(
        options,
        file,
        key=find_key(given, data_dir, make=make, shared=shared),
        old_keys=find_old_keys(data_dir),
        github_secrets=_github_secrets(given, data_dir, make, shared) if github else (),
        places=places_of(context),
    )


def make_config(
    options: Mapping[str, Any],
    file: ConfigFile,
    *,
    key: StoredSecret,
    github_secrets: tuple[StoredSecret, ...],
    places: Mapping[str, str],
    old_keys: tuple[str, ...] = (),
) -> Config:
    """Configuration of a hub from the options of `serve`, which are set at these places.

    Raises `ConfigError` if ``--unsafe`` contradicts itself, if the file of ``--revoked`` cannot be read, or for
    mistakes in sections of retention.
    """
    revoked_at, unsafe = places.get("revoked", "--revoked"), options["unsafe"]
    # Each other option has the name and the value of a field.
    values = {field.name: options[field.name] for field in fields(Config) if field.name in options} | {
        "retention": _retention(options, file),
        "revoked": read_revoked(options["revoked"], revoked_at) if options["revoked"] else frozenset(),
        "sha1_tokens": not options["no_sha1"],
        "sha1_tokens_live_only": options["plain_tokens"] == "live",
        "unsafe_prefixes": () if "none" in unsafe else unsafe or ("",),
        "public_url": options["public_url"] or "",
        "console": not options["no_console"],
        "door": not options["no_door"],
    }
    config = Config(file=file, places=places, key=key, old_keys=old_keys, github_secrets=github_secrets, **values)
    if "none" in unsafe and len(unsafe) > 1:
        raise config.error("unsafe", "'none' excludes other unsafe topics")
    if not unsafe and "unsafe" in places:
        raise config.error("unsafe", "a list of nothing would allow all unsafe topics; ['none'] allows none")
    return config


def _retention(options: Mapping[str, Any], file: ConfigFile) -> Retention:
    max_bytes, max_unsafe_bytes = KEPT_IN_MEMORY if options["store"] == "memory:" else KEPT_ON_DISK
    rest = Retention(
        max_age_s=options["keep"],
        max_bytes=max_bytes if options["keep_bytes"] is None else options["keep_bytes"],
        max_count=options["keep_count"],
        max_unsafe_bytes=max_unsafe_bytes if options["keep_unsafe_bytes"] is None else options["keep_unsafe_bytes"],
        dedup_s=options["dedup_window"],
    )
    return replace(rest, sections=read_budgets(file, rest))


def _github_secrets(given: Given, data_dir: Path, make: bool, shared: bool) -> tuple[StoredSecret, ...]:
    first = find_github_secret(given, data_dir, make=make, shared=shared)
    return first, *map(StoredSecret, find_old_github_secrets(data_dir))
