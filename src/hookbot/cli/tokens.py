"""``hookbot make-tokens``: URLs with the tokens that open them."""

import os
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit, urlunsplit

import click

from ..access.tokens import Digest, make_token
from ..hub.secret_store import KEY, KEY_FILE, find_secret
from ..protocol.paths import split_path
from .parameters import data_dir


@click.command("make-tokens")
@click.option("--bare", is_flag=True, help="Print the tokens alone.")
@click.option("--url-base", "-U", envvar="HOOKBOT_URL_BASE", default="http://localhost:8080", show_default=True)
@click.option("--sha256", is_flag=True, help="Make tokens by HMAC-SHA256, not HMAC-SHA1.")
@data_dir
@click.argument("uris", nargs=-1, required=True, metavar="URI...")
@click.pass_obj
def make_tokens(
    given: dict[str, str | None], bare: bool, url_base: str, sha256: bool, data_dir: Path, uris: tuple[str, ...]
) -> None:
    """Print each URI with the token that opens it; one that ends in "/" opens everything beneath it.

    \b
    Example:
      hookbot make-tokens /pub/deploy /sub/deploy /unsafe/sub/github.com/
    """
    key = find_secret(given["key"], KEY, os.environ, data_dir / KEY_FILE)
    if key.new:
        click.echo(f"A new key was made, in {key.path}", err=True)
    for uri in uris:
        try:
            click.echo(token_url(key.value, uri, url_base, "sha256" if sha256 else "sha1", bare=bare))
        except ValueError as error:
            raise click.UsageError(f"{uri}: {error}") from None


def token_url(key: str, uri: str, url_base: str, digest: Digest = "sha1", *, bare: bool = False) -> str:
    """The URI as a URL whose user name is its token; a subscription is ws(s), where the URI has no scheme itself.

    As the ancestor does it: the token is of the decoded path, and path and query are kept. Raises `ValueError`.
    """
    asked, base = urlsplit(uri), urlsplit(url_base)
    path = unquote(asked.path, errors="surrogateescape")
    token = make_token(key, path, digest)
    if bare:
        return token
    scheme = asked.scheme or base.scheme
    if not asked.scheme and split_path(path)[0] == "subscribe":
        scheme = {"http": "ws", "https": "wss"}.get(scheme, scheme)
    host = (asked.netloc or base.netloc).rpartition("@")[2]
    if not scheme or not host:
        raise ValueError(f"the base of a URL is like http://localhost:8080, not {url_base!r}")
    shown = quote(asked.path, safe="/%:@!$&'()*+,;=", errors="surrogateescape")
    return urlunsplit((scheme, f"{token}@{host}", shown, asked.query, ""))
