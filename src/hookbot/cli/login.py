"""``hookbot login``, ``logout`` and ``profiles``: hubs and tokens that commands find by themselves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import click

from ..errors import ConfigError, Unauthorized
from ..protocol.message import format_time
from ..protocol.paths import split_path
from ..protocol.urls import is_loopback, split_url
from ..terminal import one_line
from .credentials import clean_token, find_token
from .display import table, to_json, utc
from .parameters import PATH, cafile, json_rows, token_file
from .topics import complete_profile, session_of, token_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..access.narrowed_tokens import NarrowedToken
    from ..client.profiles import Profile

# Paths that a plain token may be for: it does not say so, and at the hub each attempt counts as a failure.
_PATHS = ("/", "/hookbot/v1/", "/sub/")
_SHOWN = 5
# A token fits into the head of a request.
_MAX_LINE = 64 << 10
_COLUMNS = ("default", "profile", "hub", "opens", "expires")


_NAME = click.option(
    "--profile",
    "name",
    envvar="HOOKBOT_PROFILE",
    metavar="NAME",
    shell_complete=complete_profile,
    help="Name of the profile.",
)


@click.command()
@click.argument("url")
@_NAME
@click.option("--of", type=PATH, metavar="PATH", help="Path that a plain token was made for. Default: the URL's.")
@token_file
@cafile
def login(url: str, name: str | None, of: str | None, token_file: Path | None, cafile: Path | None) -> None:
    """Log in to a hub, so that commands need no URL.

    The token is asked for and not shown, unless it is in the URL, in a file or on standard input. The hub checks it,
    and it is kept in a file that only you can read, as the profile that commands use from then on: they take a topic in
    place of a URL.

    \b
    Examples:
      hookbot login https://hub.example.com
      hookbot login https://hub.example.com/sub/acme/ --profile acme < token
    """
    from ..client.address import Address
    from ..client.profiles import Profile, change_profiles, profiles_file

    url = url if "://" in url else _with_scheme(url)
    address = Address.parse(url)
    path = unquote(address.path)
    # That of a topic tells what its token is for; any other is where a proxy has the hub, or that of the console.
    root, prefix = (path, "") if split_path(path)[0] else ("", f"{path}/".partition("/hookbot/")[0].rstrip("/"))
    if not address.secure and not is_loopback(address.host):
        click.echo(f"{address.netloc} is reached without TLS: anybody on the way can read the token", err=True)
    token = unquote(split_url(url).username or "") if not token_file else ""
    token = clean_token(token or find_token(url, token_file) or _asked(address.netloc), "the token")
    tried = [
        Profile(name or address.netloc, address.origin + prefix, str(one)) for one in _that_tell(token, of or root)
    ]
    found, session = _checked(tried, cafile)
    change_profiles(profiles_file(), lambda profiles: profiles.using(found))
    click.echo(f"logged in to {found.url} as {found.name}, the profile that commands use from now on")
    for line in _opened(session):
        click.echo(line)


@click.command()
@_NAME
def logout(name: str | None) -> None:
    """Forget a profile and its token.

    The token stays valid at the hub, until it expires or its name is revoked there.

    \b
    Example:
      hookbot logout --profile acme
    """
    from ..client.profiles import Profiles, change_profiles, profiles_file

    file = profiles_file()
    forgotten = Profiles.read(file).find(name)
    if forgotten is None:
        raise ConfigError("you are not logged in to any hub")
    left = change_profiles(file, lambda profiles: profiles.without(forgotten))
    click.echo(f"logged out of {forgotten.url} ({forgotten.name})")
    if left.by_name and not left.default:
        click.echo("no profile is the default now: choose one with hookbot profiles --use NAME")


@click.command()
@click.option("--use", metavar="NAME", shell_complete=complete_profile, help="Make this profile the default.")
@json_rows
def profiles(use: str | None, as_json: bool) -> None:
    """List the hubs that you are logged in to.

    Tokens are not shown, but what each opens and when it expires.

    \b
    Example:
      hookbot profiles --use acme
    """
    from ..client.profiles import Profiles, change_profiles, profiles_file

    file = profiles_file()
    kept = change_profiles(file, lambda profiles: profiles.choosing(use)) if use else Profiles.read(file)
    rows = [_row(one, is_default=one.name == kept.default) for one in kept.by_name.values()]
    if as_json:
        click.echo(to_json(rows))
    elif rows:
        click.echo(table(_COLUMNS, map(_shown, rows)))
    else:
        click.echo("there are no profiles: hookbot login https://hub.example.com makes one", err=True)


def _with_scheme(host: str) -> str:
    """The URL that is meant by one without its scheme."""
    return f"{'http' if is_loopback(split_url(f'//{host}').hostname or '') else 'https'}://{host}"


def _asked(hub: str) -> str:
    """Token that somebody types, or the first line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt(f"Token for {hub}", hide_input=True, err=True))
    line = sys.stdin.readline(_MAX_LINE)
    if len(line) == _MAX_LINE:
        raise ConfigError("standard input is longer than any token")
    return clean_token(line, "standard input")


def _that_tell(token: str, root: str) -> Sequence[NarrowedToken]:
    """A token as narrowed ones, which tell what they open: a plain one as for `root` or, if that is empty, `_PATHS`.

    Raises `ConfigError` if it is no token.
    """
    from ..access.narrowed_tokens import NarrowedToken

    try:
        return list(dict.fromkeys(NarrowedToken.read(token, path) for path in ([root] if root else _PATHS)))
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _checked(tried: Sequence[Profile], ca_file: Path | None) -> tuple[Profile, Mapping[str, Any]]:
    """The first of some profiles whose token the hub takes, and the session that it opens. Raises `Unauthorized`."""
    import trio

    for one in tried:
        try:
            return one, trio.run(session_of, one, ca_file)
        except Unauthorized as error:
            refused = error
    if len(tried) == 1:
        raise refused
    raise Unauthorized(
        f"{refused} A plain token does not tell what it is for: if that is a topic, add its path, as in --of /sub/acme/"
    )


def _opened(session: Mapping[str, Any]) -> list[str]:
    """Lines that tell what a session opens."""
    lines = [
        f"  listens to:    {_topics(session.get('sees'))}",
        f"  publishes to:  {_topics(session.get('publishes'))}",
        f"  expires:       {one_line(utc(session['expires'])) if session.get('expires') else 'never'}",
    ]
    return [*lines, "  operates the hub"] if session.get("operator") else lines


def _topics(patterns: Any) -> str:
    names = {"": "all topics", "/unsafe/": "all unsafe topics"}
    shown = [one_line(names.get(str(pattern), str(pattern))[:100]) for pattern in patterns or ()]
    more = ["..."] if len(shown) > _SHOWN else []
    return ", ".join([*shown[:_SHOWN], *more]) or "nothing"


def _row(profile: Profile, *, is_default: bool) -> dict[str, Any]:
    from ..access.authorizer import LAST_S

    token = token_of(profile)
    ends = [int(caveat.partition("=")[2]) for caveat in token.caveats if caveat.startswith("expires=")]
    expires = format_time(min([*ends, LAST_S]) * 1_000_000) if ends else None
    return {
        "default": is_default,
        "profile": profile.name,
        "hub": profile.url,
        "opens": token.narrowest,
        "expires": expires,
    }


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "default": "*" if row["default"] else "",
        "expires": utc(row["expires"]) if row["expires"] else "never",
    }
