"""Scopes: what the tokens of one request to the API may see, publish to and manage."""

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import Forbidden, InvalidTopic, NotFound
from ..protocol.failures import FAILED, Failure
from ..protocol.message import Message
from ..protocol.paths import HISTORY, RouteAction, path_to, split_path
from ..protocol.replies import Answer, answers_topic
from ..protocol.topics import EVERYTHING, RESERVED, UNSAFE, TopicFilter
from .authorizer import Action, Authorizer, Grant
from .narrowed_tokens import NarrowedToken
from .tokens import opening_paths


class Credential(NamedTuple):
    """A token of a request, and what it grants."""

    token: str
    grant: Grant


Find = Callable[[Action, str], Credential | None]
"""Function that returns the first token that opens a decoded path for an action, or None."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Scope of a request's tokens: messages, cursors, listeners, failures and refusals of some topics."""

    wanted: TopicFilter
    """Topics that it sees."""
    operator: bool
    """True if a token opens the requested path itself: an operator sees and manages everything."""
    find: Find
    held: Collection[Credential]
    """The valid tokens of the request."""
    publishing: Sequence[str]
    """Patterns of the topics that it publishes to, as far as its tokens tell them."""

    @property
    def holder(self) -> Hashable:
        """Identity of who has its tokens, as for the limit per token."""
        return frozenset(held.grant.holder for held in self.held)

    @property
    def by(self) -> str:
        """Its tokens as they are shown: by their names or, without a name, by the path that they were made for."""
        return ",".join(sorted({",".join(held.grant.names) or held.grant.path for held in self.held}))

    @property
    def ends_first(self) -> Grant:
        """The grant of its tokens that expires first."""
        return min((held.grant for held in self.held), key=lambda grant: grant.expires_s)

    @property
    def reads(self) -> TopicFilter:
        """Topics whose messages have to be read to find those that it sees; `sees_message` has the last word."""
        if self.wanted == EVERYTHING:
            return self.wanted
        answers = map(answers_topic, self.wanted.patterns)
        return TopicFilter((*self.wanted.patterns, *answers, FAILED, UNSAFE + FAILED))

    def sees(self, topic: str) -> bool:
        """True if it sees what comes to a topic or, if that ends in ``/``, to everything beneath it."""
        return self.wanted.matches(topic)

    def sees_message(self, message: Message) -> bool:
        """True if it sees a message: by its topic, or by that of the message that it tells of."""
        return self.sees(message.topic) or self.sees(topic_of(message))

    def sees_all(self, wanted: TopicFilter) -> bool:
        """True if it sees every topic of a filter, such as that of a subscription."""
        return all(map(self.sees, wanted.patterns))

    def check_operates(self) -> None:
        """Raise `Forbidden` unless a token opens the requested path itself."""
        if not self.operator:
            raise Forbidden("this takes a token for operators, such as one for /hookbot/v1/")

    def check_sees(self, message: Message) -> None:
        """Raise `NotFound`, as if it did not exist, unless it sees a message."""
        if not self.sees_message(message):
            raise NotFound(f"the log has no message {message.id}")

    def publishes(self, topic: str) -> bool:
        """True if a token opens publishing to a topic or, if that ends in ``/``, to everything beneath it."""
        return self.find("publish", path_to("publish", topic)) is not None

    def check_publishes(self, topic: str) -> None:
        """Raise `Forbidden` unless a token opens publishing to a topic."""
        if not self.publishes(topic):
            raise Forbidden(
                f"publishing again to {topic[:100]!r} takes a token for {path_to('publish', topic)[:100]!r}"
            )

    def manages(self, topic: str) -> bool:
        """True if it may delete messages of a topic or, if that ends in ``/``, of everything beneath it."""
        return self.operator or (self.sees(topic) and self.publishes(topic))

    def check_manages(self, wanted: TopicFilter) -> None:
        """Raise `Forbidden` unless it may end, move and delete what subscribes to a filter, and delete its messages."""
        if not all(map(self.manages, wanted.patterns)):
            shown = str(wanted)[:100]
            raise Forbidden(f"this takes a token for operators, or those that open {shown!r} for /sub/ and /pub/")


def topic_of(message: Message) -> str:
    """Topic of a message or, if it tells of another one, such as a failure or an answer, the topic of that."""
    told = Failure.of(message) or Answer.of(message)
    return told.topic if told else message.topic


def find_scope(
    authorizer: Authorizer, tokens: Sequence[str], path: str, asked: Sequence[str], *, now_s: float
) -> Scope | None:
    """Scope of the tokens of a request to the API, at a decoded path; None if no token opens anything.

    `asked`: patterns of topics that the request names. A plain token does not tell what it is for, so it sees only what
    it opens of these. Raises `Forbidden` for tokens that show only a part of the history.
    """
    tokens = list(filter(authorizer.may_open, tokens))

    def find(action: Action, at: str) -> Credential | None:
        grants = ((token, authorizer.grant(token, at, action, now_s=now_s)) for token in tokens)
        return next((Credential(token, grant) for token, grant in grants if grant), None)

    def opened(action: RouteAction) -> Mapping[str, Credential]:
        found: dict[str, Credential] = {}
        for token in tokens:
            for pattern in opened_by(token, action) or (*asked, *EVERYTHING.patterns):
                if grant := authorizer.grant(token, path_to(action, pattern), action, now_s=now_s):
                    found.setdefault(pattern, Credential(token, grant))
        return found

    operator = find("operate", path)
    if operator and operator.grant.live_only and path.startswith(HISTORY):
        raise Forbidden("this token grants only new messages, not the history")
    seen = dict.fromkeys(EVERYTHING.patterns, operator) if operator else opened("subscribe")
    if not operator and any(one.grant.since_us or one.grant.live_only or one.grant.cursor for one in seen.values()):
        raise Forbidden("this token shows only a part of the messages, and the console shows all")
    # Made-up tokens are not checked for more.
    if not seen:
        return None
    published = opened("publish")
    held = {*seen.values(), *published.values()}
    return Scope(TopicFilter(tuple(seen)), operator is not None, find, held, tuple(published))


def opened_by(token: str, action: RouteAction) -> Sequence[str]:
    """Patterns of the topics that a narrowed token may open, as it says itself; of any other token, none."""
    try:
        return tuple(_patterns(NarrowedToken.parse(token).narrowest, action))
    except ValueError:
        return ()


def _patterns(path: str, action: RouteAction) -> Iterator[str]:
    roots = [root for root in EVERYTHING.patterns if path in opening_paths(path_to(action, root))]
    yield from roots
    its_action, topic = split_path(path)
    if (
        not roots
        and its_action in (action, None)
        and topic.partition("/")[0] not in (RESERVED if not its_action else ())
    ):
        with suppress(InvalidTopic):
            yield from TopicFilter.parse(topic).patterns
