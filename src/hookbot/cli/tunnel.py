"""``hookbot tunnel``: a URL for senders that leads to a server of this machine, made from the profile."""

from __future__ import annotations

import hmac
from base64 import b32encode
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from ..errors import NotFound, Refused
from ..hub.secret_store import find_secret
from ..protocol.paths import SESSION, path_to
from ..protocol.topics import UNSAFE, is_subtree, is_unsafe
from ..protocol.urls import is_loopback, split_url
from ..signatures import Provider
from ..signatures.catalogue import PROVIDERS
from ..standard_files import printing_of
from ..terminal import one_line
from .forward import forward
from .parameters import Decorator, data_dir
from .topics import find_profile, token_for

if TYPE_CHECKING:
    from ..client.profiles import Profile
    from ..delivery.target import Target

CURSOR = "tunnel"
# Of the data directory. It makes the names of tunnels, which nobody can guess and which stay the same.
_SECRET_FILE = "tunnel-secret"  # noqa: S105 - the file's name
# 128 bits: who does not know the URL does not find it.
_NAME_CHARS = 26
# Where the tokens of a profile open everything, tunnels have a place of their own.
_PLACES = {"": "tunnel/", UNSAFE: f"{UNSAFE}tunnel/"}
_SET_HERE = ("words", "since", "cursor", "group", "unsafe", "token_file")


def _options_of(command: click.Command, *, without: Iterable[str]) -> Decorator:
    """Decorator that adds the options of another command, which is called with them."""

    def decorate(described: Any) -> Any:
        taken = [one for one in command.params if one.name not in without]
        described.__click_params__ = [*taken[::-1], *getattr(described, "__click_params__", [])]
        return described

    return decorate


@click.command()
@click.argument("target", metavar="PORT|TARGET")
@click.option("--provider", type=click.Choice(sorted(PROVIDERS)), metavar="NAME", help="Say what this sender needs.")
@data_dir
@_options_of(forward, without=_SET_HERE)
@click.pass_context
def tunnel(context: click.Context, /, target: str, provider: str | None, data_dir: Path, **options: Any) -> None:
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

    server, profile = Target.parse(target), find_profile(data_dir=data_dir)
    topic, hub = trio.run(_find, profile, server, data_dir, options["cafile"])
    url = _sender_url(profile, hub, topic)
    with printing_of("the tunnel is not open"):
        click.secho(url, fg="green", bold=True)
    if not options["quiet"]:
        for line in _explained(url, topic, server, provider):
            click.echo(f"  {line}", err=True)
    path = path_to("subscribe", topic)
    given = {"since": "all", "cursor": CURSOR, "group": None, "unsafe": is_unsafe(topic), "token_file": None}
    context.invoke(forward, words=(profile.url_at(path, token_for(profile, path)), target), **given, **options)


async def _find(profile: Profile, target: Target, data_dir: Path, ca_file: Path | None) -> tuple[str, str]:
    """Topic of a tunnel, and the public URL of the hub. Raises as `ask`, and `Refused` if the token allows none."""
    from ..client.http import ask

    session = await ask(profile.at(SESSION), ca_file=ca_file)
    hub = str(session.get("url") or profile.url)
    secret = find_secret(None, "the secret of tunnels", {}, data_dir / _SECRET_FILE).value
    for place in _places(session):
        server = target.socket or target.address.netloc
        made = hmac.digest(secret.encode(), f"{profile.url}\n{place}\n{server}".encode(), "sha256")
        topic = place + b32encode(made).decode().lower()[:_NAME_CHARS]
        if not is_unsafe(topic) or await _exists(profile, topic, ca_file):
            return topic, hub
    raise Refused(
        f"the token of the profile {profile.name!r} opens no place for a tunnel: that takes one for /unsafe/sub/NAME/, "
        "to which senders need no token, or for /NAME/, which opens both publishing and listening"
    )


def _places(session: Any) -> Iterator[str]:
    """Beginnings of topics that a tunnel may have, the best first: senders need no token for unsafe ones."""
    seen, published = (list(map(str, session.get(name) or ())) for name in ("sees", "publishes"))
    for pattern in sorted(filter(is_subtree, seen), key=is_unsafe, reverse=True):
        if is_unsafe(pattern) or pattern in published:
            yield _PLACES.get(pattern, pattern)


async def _exists(profile: Profile, topic: str, ca_file: Path | None) -> bool:
    """True if the hub has an unsafe topic, which it refuses to show here, since nothing says that it may be unsafe."""
    from ..client.http import ask

    try:
        await ask(profile.at(path_to("subscribe", topic)), ca_file=ca_file)
    except Refused as error:
        return not isinstance(error, NotFound)
    return True


def _sender_url(profile: Profile, hub: str, topic: str) -> str:
    """URL for the sender, at the public one of the hub; with a token that opens nothing else, if it takes one."""
    path = path_to("publish", topic)
    if is_unsafe(topic):
        return one_line(hub + quote(path))
    return one_line(replace(profile, url=hub).url_at(path, token_for(profile, path)))


def _explained(url: str, topic: str, target: Target, provider: str | None) -> Iterator[str]:
    """What there is to know about the URL, in lines."""
    yield f"leads to {target}; what comes while no tunnel is open is delivered at the next start"
    host = split_url(url).hostname or ""
    if is_loopback(host):
        yield f"only programs on this machine reach {host}: log in to a hub on the internet for others"
    if not is_unsafe(topic):
        yield "has a token as its user name, which the sender has to send as HTTP Basic credentials"
    if provider:
        yield from _about(PROVIDERS[provider], topic)


def _about(provider: Provider, topic: str) -> Iterator[str]:
    """What a sender needs to know of a URL, or its receiver of a sender, in lines."""
    from ..access.admitted import SECRET_HEADERS

    yield f"{provider.name} is described at {provider.documentation}"
    if "url" in provider.covers:
        yield "it signs the URL: verify its signatures with the one above, not with that of your server"
    if headers := [place for place in provider.secret_in if place.lower() in SECRET_HEADERS]:
        yield f"the hub does not store its {headers[0]}: add that with --header '{headers[0]}: ...'"
    if type(provider).handshake is not Provider.handshake:
        yield f"if it tries the URL with a challenge first, that needs a [[sources]] section for {topic}"
