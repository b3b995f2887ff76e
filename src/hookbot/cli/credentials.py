"""Keys and tokens that commands use: from options, variables, files, and the data directory of a hub."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ConfigError
from ..hub.secret_store import (
    GITHUB_SECRET,
    GITHUB_SECRET_FILE,
    KEY,
    KEY_FILE,
    OLD_GITHUB_SECRETS,
    OLD_GITHUB_SECRETS_FILE,
    OLD_KEYS,
    OLD_KEYS_FILE,
    StoredSecret,
    find_lines,
    find_secret,
    find_shared_secret,
    is_given,
    known_secret,
    read_secret_file,
)
from ..protocol.pasted import trim, unquote, unseen_in
from ..protocol.urls import is_loopback, split_url
from .parameters import Given

if TYPE_CHECKING:
    from ..client.address import Address

_BEARER = re.compile("Bearer( +|$)", re.IGNORECASE)
_TOKEN = re.compile("[A-Za-z0-9_-]+")


def find_key(given: Given, data_dir: Path, *, make: bool = True, shared: bool = False) -> StoredSecret:
    """Key of the hub, generated and stored if there is none and `make` is true, unless its store is `shared`.

    Raises `ConfigError` if it cannot be read or stored, or if there is none.
    """
    find = find_shared_secret if shared else partial(find_secret, make=make)
    return find(given["key"], KEY, os.environ, data_dir / KEY_FILE)


def known_key(given: Given, data_dir: Path) -> str | None:
    """Key of the hub, or None if there is none. Raises `ConfigError` if it cannot be read."""
    return known_secret(given["key"], KEY, os.environ, data_dir / KEY_FILE)


def find_old_keys(data_dir: Path) -> tuple[str, ...]:
    """Earlier keys of the hub, which are still valid. Raises `ConfigError` if they cannot be read."""
    return find_lines(OLD_KEYS, os.environ, data_dir / OLD_KEYS_FILE)


def find_github_secret(given: Given, data_dir: Path, *, make: bool, shared: bool = False) -> StoredSecret:
    """Secret of GitHub's webhook; as `find_key`."""
    find = find_shared_secret if shared else partial(find_secret, make=make)
    return find(given["github_secret"], GITHUB_SECRET, os.environ, data_dir / GITHUB_SECRET_FILE)


def known_github_secret(given: Given, data_dir: Path) -> str | None:
    """Secret of GitHub's webhook, or None if there is none; as `known_key`."""
    return known_secret(given["github_secret"], GITHUB_SECRET, os.environ, data_dir / GITHUB_SECRET_FILE)


def find_old_github_secrets(data_dir: Path) -> tuple[str, ...]:
    """Earlier secrets of GitHub's webhook, which are still valid; as `find_old_keys`."""
    return find_lines(OLD_GITHUB_SECRETS, os.environ, data_dir / OLD_GITHUB_SECRETS_FILE)


def key_for(given: Given, data_dir: Path, hub: Address) -> str | None:
    """Key for the tokens that a command sends to a hub, or None. Raises `ConfigError` if it cannot be read.

    The key in the data directory is only for a hub on this machine: any other would learn a token that opens this one.
    """
    kept = data_dir / KEY_FILE
    if is_given(given["key"], KEY, os.environ) or is_loopback(hub.host):
        return known_key(given, data_dir)
    if not hub.authorization and kept.exists():
        click.echo(
            f"no token is made for {hub.netloc}, which is not this machine, with the key in {data_dir}: "
            f"if it is that hub's key, set HOOKBOT_KEY_FILE to {kept}",
            err=True,
        )
    return None


def find_token(url: str, token_file: Path | None) -> str | None:
    """Token in `token_file` or, for a URL without a token, in HOOKBOT_TOKEN; None if there is neither.

    Raises `ConfigError` if the file is empty or cannot be read, or if either has no token.
    """
    if token_file:
        return clean_token(read_secret_file(token_file, "--token-file"), str(token_file))
    return _find_token(url, "HOOKBOT_TOKEN")


def find_publish_token(url: str) -> str | None:
    """Token in HOOKBOT_PUBLISH_TOKEN, for a URL without one; else None.

    For commands that also subscribe, with HOOKBOT_TOKEN.
    """
    return _find_token(url, "HOOKBOT_PUBLISH_TOKEN")


def clean_token(text: str, where: str) -> str:
    """A token without what is pasted with it: white space, quotation marks, and ``Bearer``.

    Raises `ConfigError`, which calls it `where`, if a character is left that no token has.
    """
    token = _BEARER.sub("", unquote(trim(text)))
    if not token:
        raise ConfigError(f"{where} has no token")
    if not _TOKEN.fullmatch(token):
        what = unseen_in(token, allowed="") or "characters that no token has"
        raise ConfigError(f"{where} contains {what}: a token has letters, digits, - and _")
    return token


def _find_token(url: str, variable: str) -> str | None:
    token = os.environ.get(variable)
    return clean_token(token, variable) if token and "@" not in split_url(url).netloc else None
