"""``hookbot make-tokens`` and ``hookbot narrow``: URLs with their tokens, and weaker tokens."""

import socket
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from math import floor
from pathlib import Path
from urllib.parse import SplitResult, quote, unquote, urlunsplit

import click

from ..access.narrowed_tokens import NarrowedToken
from ..access.tokens import Digest, make_token, opening_paths
from ..errors import ConfigError
from ..hub.secret_store import is_reference, resolve_secret
from ..protocol.paths import split_path
from ..protocol.urls import is_loopback, split_url, without_secrets
from .credentials import clean_token, find_key, known_key
from .parameters import PATH, Given, Moment, ago, data_dir, from_now

_WEBSOCKET = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_HTTP = {"ws": "http", "wss": "https"}
_NO_MOMENT = "neither a duration such as 24h nor an RFC 3339 time: {!r}"
_EXPIRES = Moment("duration|time", from_now, _NO_MOMENT)
_SINCE = Moment("duration|time", ago, _NO_MOMENT)


@click.command("make-tokens")
@click.option("--bare", is_flag=True, help="Print the tokens alone, without URLs.")
@click.option(
    "--url-base",
    "-U",
    envvar="HOOKBOT_URL_BASE",
    default="http://localhost:8080",
    show_default=True,
    metavar="URL",
    help="URL of the hub.",
)
@click.option("--sha256", is_flag=True, help="Use HMAC-SHA256 instead of HMAC-SHA1.")
@data_dir
@click.argument("uris", nargs=-1, required=True, metavar="URI...")
@click.pass_obj
def make_tokens(given: Given, bare: bool, url_base: str, sha256: bool, data_dir: Path, uris: tuple[str, ...]) -> None:
    """Print each URI with the token that opens it.

    The token of a URI that ends in "/" opens every path beneath it. Tokens are made with the hub's key: run this on its
    machine, or set HOOKBOT_KEY. Without a key, one is made for a hub at localhost.

    \b
    Example:
      hookbot make-tokens /pub/deploy /sub/deploy /unsafe/sub/github.com/
    """
    digest: Digest = "sha256" if sha256 else "sha1"
    key = known_key(given, data_dir)
    if key is None:
        # A mistake leaves no key behind.
        _token_urls("", uris, url_base, digest)
        base = split_url(url_base)
        key = _make_key(given, data_dir, [asked if asked.netloc else base for asked in map(split_url, uris)])
    for line in _token_urls(key, uris, url_base, digest, bare=bare):
        click.echo(line)


def _token_urls(key: str, uris: Iterable[str], url_base: str, digest: Digest, *, bare: bool = False) -> Sequence[str]:
    """`token_url` of each. Raises `UsageError` for the first that is wrong."""
    urls = []
    for uri in uris:
        try:
            urls.append(token_url(key, uri, url_base, digest, bare=bare))
        except ValueError as error:
            raise click.UsageError(f"{without_secrets(uri)}: {error}") from None
    return urls


def _make_key(given: Given, data_dir: Path, hubs: Iterable[SplitResult]) -> str:
    """A new key for hubs of this machine. Raises `ConfigError` if one of them has a key, which would be another."""
    hub = next(filter(_has_key, hubs), None)
    # One that has started meanwhile has made its key here.
    if hub and known_key(given, data_dir) is None:
        raise ConfigError(
            f"there is no key in {data_dir}, and only the hub's own makes tokens for {hub.hostname}: run this on its "
            "machine, as the hub's user or with its HOOKBOT_DATA_DIR, or set HOOKBOT_KEY to its key"
        )
    key = find_key(given, data_dir)
    if key.new:
        click.echo(f"A new key was made in {key.path}", err=True)
    return key.value


def _has_key(hub: SplitResult) -> bool:
    """True if a hub probably has a key: it is on another machine, or listens on this one."""
    if not is_loopback(hub.hostname or ""):
        return True
    # A hub makes its key before it listens.
    with suppress(OSError), socket.create_connection((hub.hostname, hub.port or 80), timeout=1):
        return True
    return False


def token_url(key: str, uri: str, url_base: str, digest: Digest = "sha1", *, bare: bool = False) -> str:
    """URL of `uri`, with its token as the user name, or only the token if `bare`.

    `url_base` supplies the scheme and host that `uri` lacks, and the path at which a proxy has the hub; the scheme
    becomes that by which the path is used. As in the ancestor, the token is made from the decoded path, and path and
    query are kept. Raises `Refused` if a URL is malformed, and `ValueError` if `uri` has no path, or `url_base` is not
    the URL of a hub.
    """
    asked, base = split_url(uri), split_url(url_base)
    path = unquote(asked.path, errors="surrogateescape")
    if asked.scheme not in ("", *_WEBSOCKET) or not path.startswith("/") or (asked.netloc and not asked.hostname):
        raise ValueError("neither a path that begins with / nor a URL with one")
    token = make_token(key, path, digest)
    if bare:
        return token
    if not asked.scheme or not asked.netloc:
        _check_base(base)
    if not asked.netloc:
        asked = asked._replace(netloc=base.netloc, path=base.path.rstrip("/") + asked.path)
    scheme = asked.scheme or _scheme(base.scheme, path)
    host = asked.netloc.rpartition("@")[2]
    shown = quote(asked.path, safe="/%:@!$&'()*+,;=", errors="surrogateescape")
    return urlunsplit((scheme, f"{token}@{host}", shown, asked.query, ""))


def _check_base(base: SplitResult) -> None:
    """Raise `ValueError` for what is not the URL of a hub, or has more than scheme, host and path."""
    if "@" in base.netloc:
        raise ValueError("--url-base must be the URL of the hub without a token: this command makes tokens")
    if base.query or base.fragment:
        raise ValueError("--url-base must be the URL of the hub without a query or fragment")
    if split_path(base.path)[0]:
        raise ValueError(f"--url-base must be the URL of the hub, not of a topic: {base.path!r}")
    if base.scheme not in _WEBSOCKET or not base.hostname:
        raise ValueError(f"--url-base must be like http://localhost:8080, not {without_secrets(base.geturl())!r}")


def _scheme(scheme: str, path: str) -> str:
    """The scheme by which a path of a hub is used: that of websockets for a subscription, of HTTP for anything else."""
    return (_WEBSOCKET if split_path(path)[0] == "subscribe" else _HTTP).get(scheme, scheme)


@click.command()
@click.argument("token")
@click.option(
    "--of", "root", type=PATH, metavar="PATH", help="Path that a plain token was made for. Default: the URL's."
)
@click.option(
    "--path", type=PATH, metavar="PATH", help='Open only this path or, if it ends in "/", the paths beneath it.'
)
@click.option("--only", type=click.Choice(["pub", "sub"]), help="Allow only publishing, or only subscribing.")
@click.option("--expires", type=_EXPIRES, help="Expire at this time; its subscriptions end, too.")
@click.option("--name", help="Name to revoke the token by.")
@click.option("--live", is_flag=True, help="Allow new messages only, no history.")
@click.option("--since", type=_SINCE, help="Allow no older messages.")
@click.option("--cursor", metavar="NAME", help="Allow this cursor or group only.")
def narrow(token: str, root: str | None, path: str | None, live: bool, **caveats: str | float | None) -> None:
    """Make a weaker token from TOKEN.

    This needs no key, and nobody can make the result stronger again. TOKEN is a token, or a URL with a token as its
    user name, of which a URL is made. So that `ps` does not show it, give env:NAME, file:PATH, or "-" for standard
    input.

    \b
    Examples:
      hookbot make-tokens /sub/ | hookbot narrow - --path /sub/builds/ --expires 24h
      hookbot narrow env:TOKEN --of /sub/ --live --name kiosk
    """
    text = sys.stdin.readline() if token == "-" else token  # noqa: S105 - no password
    text = resolve_secret(text) if is_reference(text) else text
    url = split_url(text) if "://" in text else None
    if url and not url.username:
        raise click.UsageError("the URL has no token: it stands before the host, as in https://TOKEN@hub.example.com")
    given = url.username or "" if url else clean_token(text, "TOKEN")
    wanted = {**caveats, "path": path and _decoded(path), "live": "1" if live else None}
    try:
        narrowed = _take(given, root or (url.path if url else ""))
        if not any(value is not None for value in wanted.values()):
            raise ValueError("this would be the same token: add --path, --only, --expires or another restriction")
        if (expires := wanted["expires"]) is not None and float(expires) <= time.time():
            raise ValueError("--expires is in the past: the token would open nothing")
        for name, value in wanted.items():
            if value is not None:
                narrowed = narrowed.narrow(name, value if isinstance(value, str) else str(floor(value)))
        _check(narrowed)
        made = narrowed.text()
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(_with_token(url, made, path or url.path) if url else made)


def _take(token: str, path: str) -> NarrowedToken:
    """Token to narrow, parsed. Raises `ValueError` if it is not a token, or is a plain one whose `path` is unknown."""
    narrowed = NarrowedToken.read(token, _decoded(path))
    if not narrowed.path:
        raise ValueError("a plain token does not contain its path: add --of PATH, or give its URL")
    return narrowed


def _check(narrowed: NarrowedToken) -> None:
    """Raise `ValueError` for a token that opens nothing, as its restrictions exclude each other."""
    values = [caveat.partition("=")[::2] for caveat in narrowed.caveats]
    names = {name for name, _ in values}
    path = narrowed.path
    for narrower in (value for name, value in values if name == "path"):
        if path not in opening_paths(narrower):
            raise ValueError(f"a token for {path!r} does not open {narrower!r}")
        path = narrower
    for name, value in values:
        if name == "only" and not (split_path(path)[0] or value).startswith(value):
            raise ValueError(f"with --only {value}, a token for {path!r} would open nothing")
    if "cursor" in names and names & {"live", "since"}:
        raise ValueError("--cursor excludes --live and --since: a cursor has a position of its own")


def _with_token(url: SplitResult, token: str, path: str) -> str:
    return urlunsplit((url.scheme, f"{token}@{url.netloc.rpartition('@')[2]}", path, url.query, ""))


def _decoded(path: str) -> str:
    return unquote(path, errors="surrogateescape")
