"""``hookbot narrow``: a weaker token of one that somebody holds, without the hub's key."""

import sys
import time
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import click

from ..access.narrowed_tokens import MAX_LENGTH, NarrowedToken
from ..access.tokens import opening_paths
from ..hub.secret_store import resolve_secret
from ..protocol.message import parse_time
from ..protocol.since import parse_duration


class Moment(click.ParamType[str]):
    """Seconds since 1970 of a time, or of a duration before or after now."""

    name = "duration|time"

    def __init__(self, *, after: bool) -> None:
        self._sign = 1 if after else -1

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Called by click."""
        try:
            return str(int(time.time()) + self._sign * parse_duration(value))
        except ValueError:
            pass
        try:
            return str(parse_time(value) // 1_000_000)
        except ValueError:
            self.fail(f"neither a duration such as 24h nor an RFC 3339 time: {value!r}", param, ctx)


@click.command()
@click.argument("token")
@click.option("--of", "root", metavar="PATH", help="What a plain token was made for. Default: the path of the URL.")
@click.option("--path", metavar="PATH", help="Good for this path only or, if it ends in /, for what is beneath it.")
@click.option("--only", type=click.Choice(["pub", "sub"]), help="Good to publish only, or to subscribe only.")
@click.option("--expires", type=Moment(after=True), help="Good until then; its subscriptions end as well.")
@click.option("--name", help="To be revoked by.")
@click.option("--live", is_flag=True, help="Shows what is new, and no history.")
@click.option("--since", type=Moment(after=False), help="Shows nothing older.")
@click.option("--cursor", metavar="NAME", help="Good for this cursor or group only.")
def narrow(token: str, root: str | None, path: str | None, live: bool, **caveats: str | None) -> None:
    """Make a weaker token of TOKEN. Whoever holds a token can, and nobody can make it stronger again.

    TOKEN is a token or a URL that has one as its user name, env:NAME, file:PATH or, so that nobody sees it in the list
    of processes, "-" for standard input. Of a URL comes a URL.

    \b
    Examples:
      hookbot make-tokens /sub/ | hookbot narrow - --path /sub/builds/ --expires 24h
      hookbot narrow env:TOKEN --of /sub/ --live --name kiosk
    """
    given = sys.stdin.readline().strip() if token == "-" else resolve_secret(token)  # noqa: S105 - no password
    url = urlsplit(given) if "://" in given else None
    wanted = {**caveats, "path": path and _decoded(path), "live": "1" if live else None}
    try:
        narrowed = _take(given, url, root)
        for name, value in wanted.items():
            narrowed = narrowed.narrow(name, value) if value is not None else narrowed
        _check(narrowed)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(_with_token(url, str(narrowed), path or url.path) if url else str(narrowed))


def _take(given: str, url: SplitResult | None, root: str | None) -> NarrowedToken:
    """The token that was given; raises `ValueError` if it is none."""
    token = (url.username or "") if url else given
    try:
        return NarrowedToken.parse(token)
    except ValueError:
        path = root or (url.path if url else "")
    if not path:
        raise ValueError("a plain token does not say what it was made for: add --of PATH, or give its URL")
    return NarrowedToken.of(token, _decoded(path))


def _check(narrowed: NarrowedToken) -> None:
    """Raises `ValueError` for a token that would be good for nothing, or nothing less than the one it is made of."""
    values = [caveat.partition("=")[::2] for caveat in narrowed.caveats]
    names = {name for name, _ in values}
    path = narrowed.path
    if not names:
        raise ValueError("this would be the same token: say what it is to be narrowed to")
    for narrower in (value for name, value in values if name == "path"):
        if path not in opening_paths(narrower):
            raise ValueError(f"a token for {path!r} does not open {narrower!r}")
        path = narrower
    if "cursor" in names and names & {"live", "since"}:
        raise ValueError("a cursor remembers where in the history it is: not together with --live or --since")
    if len(str(narrowed)) > MAX_LENGTH:
        raise ValueError(f"a token has at most {MAX_LENGTH} characters, this one would have {len(str(narrowed))}")


def _with_token(url: SplitResult, token: str, path: str) -> str:
    host = url.netloc.rpartition("@")[2]
    return urlunsplit((url.scheme, f"{token}@{host}", path, url.query, ""))


def _decoded(path: str) -> str:
    return unquote(path, errors="surrogateescape")
