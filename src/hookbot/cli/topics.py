"""Topics in place of URLs: a word that is no URL is a topic at the hub of a profile, or at that of this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from ..errors import ConfigError, HookbotError, InvalidTopic, Lost, Refused
from ..hub.data_dir import default_data_dir
from ..protocol.paths import SESSION, TOPICS, RouteAction, path_to, topic_meant
from ..protocol.topics import TopicFilter
from .credentials import key_for
from .parameters import completed

if TYPE_CHECKING:
    from ..access.narrowed_tokens import NarrowedToken
    from ..client.profiles import Profile

# A shell waits for it.
_COMPLETION_S = 1.0
_PROFILE = f"{__package__}.profile"
# What begins like a URL whose scheme was forgotten, with a token or with the path of a topic.
_SCHEMELESS = re.compile(r"[^/?]*@|[^/?]+[.:][^/?]+/(unsafe/)?(pub|sub)/")
# What a shell takes for a word and no option, as it is: it inserts a completion without quotes.
_PLAIN_WORD = re.compile(r"[\w/][\w/.,:@%+=-]*")


def _profile_names() -> Iterable[str]:
    from ..client.profiles import Profiles, profiles_file

    with suppress(ConfigError):
        return Profiles.read(profiles_file()).by_name
    return ()


complete_profile = completed(_profile_names)


def _keep(context: click.Context, _: click.Parameter, name: str | None) -> None:
    context.meta[_PROFILE] = name


# Eager: an argument that is a topic is looked up at its hub.
profile = click.option(
    "--profile",
    envvar="HOOKBOT_PROFILE",
    metavar="NAME",
    is_eager=True,
    expose_value=False,
    callback=_keep,
    shell_complete=complete_profile,
    help="Find topics at the hub of this profile. Default: that of the last `hookbot login`.",
)


class TopicOrUrl(click.ParamType[str]):
    """Parameter type of a URL, or of a topic, which becomes its URL with a token of the profile."""

    name = "URL"

    def __init__(self, action: RouteAction) -> None:
        self._action = action

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return url_of(value, self._action)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return complete_topic(ctx, param, incomplete)


SUBSCRIPTION = TopicOrUrl("subscribe")
PUBLICATION = TopicOrUrl("publish")


def url_of(word: str, action: RouteAction) -> str:
    """A word if it is a URL; if it is a topic, that of the topic, with a token that opens no more.

    Raises `ConfigError` as `find_profile`, and `Refused` if the token of the profile does not open the topic.
    """
    if "://" in word:
        return word
    path, query = _path_and_query(word, action)
    found = find_profile()
    return found.url_at(path, token_for(found, path)) + query


def is_profile_named() -> bool:
    """True if the command was given a profile, by ``--profile`` or HOOKBOT_PROFILE."""
    return bool(click.get_current_context().meta.get(_PROFILE))


def find_profile(context: click.Context | None = None, *, data_dir: Path | None = None) -> Profile:
    """The profile that ``--profile`` names, else the default one, else one for the hub of this machine.

    Raises `ConfigError` if there is none, or the file of the profiles cannot be used.
    """
    from ..client.profiles import Profiles, profiles_file

    context = context or click.get_current_context()
    name = context.meta.get(_PROFILE)
    found = Profiles.read(profiles_file()).find(name) or _profile_here(context, data_dir)
    if found is None:
        raise ConfigError(
            "there is no profile, and no hub on this machine: log in with `hookbot login https://hub.example.com`\n"
            "or start a hub here, with `hookbot serve`; a whole URL, which begins with https://, needs neither"
        )
    return found


async def session_of(profile: Profile, ca_file: Path | None) -> Mapping[str, Any]:
    """Session of a profile: what its token opens, as the hub tells. Raises as `ask`."""
    from ..client.http import ask

    session: Mapping[str, Any] = await ask(profile.at(SESSION), ca_file=ca_file)
    try:
        for name in ("sees", "publishes", "unsafe"):
            for pattern in session.get(name, []):
                TopicFilter.parse(pattern)
    except (AttributeError, TypeError, InvalidTopic):
        raise Lost("the response is not that of a hub: it is no session") from None
    return session


def complete_topic(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Topics at the hub of the profile that begin with `incomplete`; none if it does not tell within a second."""
    # Of several words, the first is the topic.
    if "://" in incomplete or context.params.get(parameter.name or ""):
        return []
    with suppress(HookbotError, ExceptionGroup, OSError):
        return [CompletionItem(topic) for topic in _topics(find_profile(context), incomplete)]
    return []


def token_of(profile: Profile) -> NarrowedToken:
    """Token of a profile. Raises `ConfigError` if it is none."""
    from ..access.narrowed_tokens import NarrowedToken

    try:
        return NarrowedToken.parse(profile.token)
    except ValueError:
        raise ConfigError(f"the token of the profile {profile.name!r} is damaged: log in again") from None


def token_for(profile: Profile, path: str) -> str:
    """Token of a profile for one path only or, if that is too long for a token, as it is.

    Raises `Refused` if it does not open the path, and as `token_of`.
    """
    from ..access.tokens import opening_paths

    token = token_of(profile)
    if token.narrowest not in opening_paths(path):
        raise Refused(
            f"the token of the profile {profile.name!r} opens {token.narrowest[:100]!r}, and not {path[:100]!r}: "
            "choose another one with --profile, or log in with a token that does"
        )
    with suppress(ValueError):
        return token.narrow("path", path).text()
    return profile.token


def for_topic(profile: Profile, word: str) -> str:
    """Token of a profile for one topic only: for listening to it and, if it is a safe one, publishing there."""
    path, _ = _path_and_query(word, "subscribe")
    with suppress(Refused):
        return token_for(profile, path.removeprefix("/sub"))
    return token_for(profile, path)


def _path_and_query(word: str, action: RouteAction) -> tuple[str, str]:
    if _SCHEMELESS.match(word):
        raise Refused("a URL begins with https:// or http://, and a topic with neither a token nor a host")
    topic, mark, query = word.partition("?")
    return path_to(action, topic_meant(topic)), mark + query


def _profile_here(context: click.Context, data_dir: Path | None) -> Profile | None:
    """Profile of the hub that `hookbot make-tokens` makes tokens for, if its key is here or given."""
    from ..access.narrowed_tokens import NarrowedToken
    from ..client.address import Address
    from ..client.profiles import Profile

    url = os.environ.get("HOOKBOT_URL_BASE", "http://localhost:8080").rstrip("/")
    given = {"key": context.find_root().params.get("key")}
    kept_in = data_dir or Path(os.environ.get("HOOKBOT_DATA_DIR") or default_data_dir())
    key = key_for(given, kept_in, Address.parse(url))
    # Hubs take SHA-256 whatever their configuration.
    return Profile("", url, str(NarrowedToken.made_with(key, "sha256", "/", ()))) if key else None


def _topics(profile: Profile, incomplete: str) -> list[str]:
    import trio

    from ..client.http import ask, rows

    async def fetch() -> Any:
        with trio.move_on_after(_COMPLETION_S):
            return await ask(profile.at(TOPICS), query={"topic": incomplete[: incomplete.rfind("/") + 1]})
        return {"topics": []}

    listed = (row.get("topic") for row in rows(trio.run(fetch), "topics"))
    # Who publishes, without a token at some topics, must not write the command line.
    return sorted(
        topic
        for topic in listed
        if isinstance(topic, str) and topic.startswith(incomplete) and _PLAIN_WORD.fullmatch(topic)
    )
