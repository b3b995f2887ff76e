"""``hookbot tunnel``: a URL for senders that leads to a server of this machine, made from the profile."""

from __future__ import annotations

import hmac
from base64 import b32encode
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from ..errors import Refused
from ..hub.secret_store import find_secret
from ..protocol.paths import path_to
from ..protocol.replies import REPLY
from ..protocol.topics import UNSAFE, TopicFilter, is_subtree, is_unsafe
from ..protocol.urls import is_loopback, split_url
from ..terminal import one_line
from .forward import forward
from .parameters import Parsed, data_dir
from .sign_options import complete_provider
from .topics import find_profile, session_of, token_for

if TYPE_CHECKING:
    from ..client.profiles import Profile
    from ..delivery.target import Target
    from ..signatures import Provider

CURSOR = "tunnel"
# Of the data directory. It makes the names of tunnels, which nobody can guess and which stay the same.
_SECRET_FILE = "tunnel-secret"  # noqa: S105 - the file's name
# 128 bits: who does not know the URL does not find it.
_NAME_CHARS = 26
# Where the tokens of a profile open everything, tunnels have a place of their own.
_PLACES = {"": "tunnel/", UNSAFE: f"{UNSAFE}tunnel/"}
# All others of `forward` are options of a tunnel, too.
_SET_HERE = ("words", "since", "cursor", "group", "unsafe", "token_file", "live")


def _provider(name: str) -> Provider:
    from ..signatures import load_provider

    return load_provider(name)


@click.command()
@click.argument("target", metavar="PORT|TARGET")
@click.option(
    "--provider",
    "sender",
    type=Parsed("provider", _provider),
    shell_complete=complete_provider,
    metavar="NAME",
    help="Say what this sender needs.",
)
@click.option("--live/--no-live", default=None, help="Show what comes in a live view. Default: on a terminal.")
@data_dir
@click.pass_context
def tunnel(
    context: click.Context,
    /,
    target: str,
    sender: Provider | None,
    live: bool | None,
    data_dir: Path,
    **options: Any,
) -> None:
    """Receive webhooks from the internet at a server of this machine.

    Print a URL to give to a sender, and post what it sends to TARGET, as `forward` does: an http(s) URL,
    localhost:3000/path, or only a port. The URL stays the same for this user, hub and port. What is sent while no
    tunnel is open comes at the next start. The hub is that of the profile (`hookbot login`), or of this machine.

    \b
    Examples:
      hookbot tunnel 3000
      hookbot tunnel localhost:3000/webhook --provider stripe
    """
    import trio

    from ..delivery.target import Target
    from .live.terminal import is_drawable

    server, profile = Target.parse(target), find_profile(data_dir=data_dir)
    topic, hub = trio.run(_find, profile, server, data_dir, options["cafile"])
    url = _sender_url(profile, hub, topic) + (f"?{REPLY}" if options["replies"] else "")
    click.secho(url, bold=True)
    if not options["quiet"]:
        for line in _explained(url, topic, server, sender):
            click.echo(f"  {one_line(line)}", err=True)
    path = path_to("subscribe", topic)
    given = {"since": "all", "cursor": CURSOR, "group": None, "unsafe": is_unsafe(topic), "token_file": None}
    given |= {"live": is_drawable() if live is None else live, "title": f"tunnel  {url} → {server}"}
    context.invoke(forward, words=(profile.url_at(path, token_for(profile, path)), target), **given, **options)


tunnel.params.extend(one for one in forward.params if one.name not in _SET_HERE)


async def _find(profile: Profile, target: Target, data_dir: Path, ca_file: Path | None) -> tuple[str, str]:
    """Topic of a tunnel, and the public URL of the hub. Raises as `ask`, and `Refused` if the token allows none."""
    session = await session_of(profile, ca_file)
    hub, exists = _public_url(profile, session), TopicFilter(_patterns(session, "unsafe"))
    secret = find_secret(None, "the secret of tunnels", {}, data_dir / _SECRET_FILE).value
    for place in _places(session):
        server = target.socket or target.address.netloc
        made = hmac.digest(secret.encode(), f"{profile.url}\n{place}\n{server}".encode(), "sha256")
        topic = place + b32encode(made).decode().lower()[:_NAME_CHARS]
        if not is_unsafe(topic) or exists.matches(topic):
            return topic, hub
    raise Refused(
        f"the token of the profile {profile.name!r} opens no place for a tunnel: that takes one for /unsafe/sub/NAME/, "
        "to which senders need no token, or for /NAME/, which opens both publishing and listening"
    )


def _places(session: Mapping[str, Any]) -> Iterator[str]:
    """Beginnings of topics that a tunnel may have, the best first: senders need no token for unsafe ones."""
    for pattern in sorted(filter(is_subtree, _patterns(session, "sees")), key=is_unsafe, reverse=True):
        if is_unsafe(pattern) or pattern in _patterns(session, "publishes"):
            yield _PLACES.get(pattern, pattern)


def _patterns(session: Mapping[str, Any], name: str) -> tuple[str, ...]:
    return tuple(map(str, session.get(name) or ()))


def _public_url(profile: Profile, session: Mapping[str, Any]) -> str:
    """URL of the hub for senders. At the host of the profile, it has the scheme of that: few proxies tell theirs."""
    told = str(session.get("url") or profile.url)
    return profile.url if split_url(told).netloc == split_url(profile.url).netloc else told


def _sender_url(profile: Profile, hub: str, topic: str) -> str:
    """URL for the sender, at the public one of the hub; with a token that opens nothing else, if it takes one."""
    path = path_to("publish", topic)
    if is_unsafe(topic):
        return one_line(hub + quote(path))
    return one_line(replace(profile, url=hub).url_at(path, token_for(profile, path)))


def _explained(url: str, topic: str, target: Target, sender: Provider | None) -> Iterator[str]:
    """Lines that tell what there is to know about the URL."""
    yield f"leads to {target}; what comes while no tunnel is open is delivered at the next start"
    host = split_url(url).hostname or ""
    if is_loopback(host):
        yield f"only programs on this machine reach {host}: log in to a hub on the internet for others"
    if not is_unsafe(topic):
        yield "has a token as its user name, which the sender has to send as HTTP Basic credentials"
    if split_url(url).query:
        place = topic[: topic.rindex("/") + 1]
        yield f"has the sender wait for the answer of {target}: the hub allows that if started with --reply {place}"
    if sender:
        yield from _about(sender, topic)


def _about(provider: Provider, topic: str) -> Iterator[str]:
    """Lines that tell what a sender needs to know of a URL, or its receiver of a sender."""
    from ..access.admitted import SECRET_HEADERS
    from ..signatures import Provider as Base

    yield f"{provider.name} is described at {provider.documentation}"
    if "url" in provider.covers:
        yield "it signs the URL: verify its signatures with the one above, not with that of your server"
    if headers := [place for place in provider.secret_in if place.lower() in SECRET_HEADERS]:
        yield f"the hub does not store its {headers[0]}: add that with --header '{headers[0]}: ...'"
    if type(provider).handshake is not Base.handshake:
        yield f"if it tries the URL with a challenge first, that needs a [[sources]] section for {topic}"
