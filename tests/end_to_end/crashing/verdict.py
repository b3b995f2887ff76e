"""Properties of the log that must hold whatever happened to the hub."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Protocol, TypeVar

from end_to_end.crashing.listeners import Heard
from end_to_end.crashing.senders import Sender, digest
from end_to_end.crashing.tables import Stored
from hookbot.protocol.message import format_time

T = TypeVar("T")


class LogOfHubs(Protocol):
    """The log of one hub, or of several, as it lies in its store."""

    def check_integrity(self) -> None: ...

    def check_log(self) -> None: ...

    def stored(self) -> list[Stored]: ...


def check_log(hub: LogOfHubs) -> list[Stored]:
    """Check that the store is sound, ids strictly increase, times do not decrease, and no error was logged.

    Returns all messages.
    """
    hub.check_integrity()
    hub.check_log()
    stored = hub.stored()
    for one, other in pairwise(stored):
        assert one.position < other.position
        assert one.id < other.id
        assert one.time_us <= other.time_us
    return stored


def check_senders(senders: Sequence[Sender], stored: list[Stored]) -> int:
    """Check that every acknowledged message is stored under its id, and none more often than it was sent.

    Returns how many messages are there twice: those without a key whose answer got lost.
    """
    by_id = {message.id: message for message in stored}
    copies = Counter((message.topic, digest(message.body)) for message in stored)
    twice = 0
    for sender in senders:
        for id, body, _ in sender.acknowledged:
            assert id in by_id, f"{sender.name} was told that {id} is stored, it is not"
            assert (by_id[id].topic, digest(by_id[id].body)) == (sender.topic, body), f"{id} is another message"
        for body, attempts in sender.attempts.items():
            found = copies.pop((sender.topic, body), 0)
            assert 1 <= found <= (1 if sender.keyed else attempts), (
                f"{sender.name}: {attempts} times sent, {found} stored"
            )
            twice += found - 1
    unknown = {topic for topic, _ in copies if topic.startswith(("load/", "quiet", "/unsafe/"))}
    assert not unknown, f"nobody has sent what is on {unknown}"
    return twice


def check_turns(senders: Sequence[Sender]) -> None:
    """Check that the messages of each sender are stored in the order in which it has sent them."""
    for sender in senders:
        ids = [acknowledged.id for acknowledged in sender.acknowledged]
        assert ids == sorted(set(ids)), f"{sender.name} was told ids out of order"


def check_order(senders: Sequence[Sender]) -> None:
    """Check that whatever was sent after something else was acknowledged has the higher id, at whichever hub it was.

    That is less than `check_turns`: of a burst, one message may be refused and sent again after the others.
    """
    acknowledged = [(*one, sender.first_sent[one.body]) for sender in senders for one in sender.acknowledged]
    latest = 0.0
    for id, _, at, sent_at in sorted(acknowledged):
        assert latest <= at, f"{id} was acknowledged before a message with a lower id was sent"
        latest = max(latest, sent_at)


def check_kept(stored: list[Stored], lost: Sequence[Stored] = ()) -> int:
    """Check that the filter has published each message that it keeps once, in order."""
    published = [json.loads(message.body)["of"] for message in stored if message.topic.startswith("kept/")]
    compare_routed("the filter's output", published, kept_of, stored, lost)
    return len(published)


def kept_of(message: Stored) -> list[str]:
    """What the filter tells of a message."""
    return [message.id] if message.topic.startswith("load/") and is_kept(message.body) else []


def is_kept(body: bytes) -> bool:
    try:
        return bool(json.loads(body)["keep"])
    except ValueError:
        return False


def check_github(stored: list[Stored], lost: Sequence[Stored] = ()) -> int:
    """Check that the GitHub router has published each delivery once, in order, after the summary of each push."""
    published = [(m.topic, told(json.loads(m.body))) for m in stored if m.topic.startswith("github.com/")]
    compare_routed("the GitHub router's output", published, github_of, stored, lost)
    return len(published)


def github_of(message: Stored) -> list[tuple[str, str]]:
    """Topics on which the GitHub router publishes a message, and what it tells there."""
    if not message.topic.startswith("/unsafe/github.com/"):
        return []
    payload = json.loads(message.body)
    topic = f"github.com/repo/{payload['repository']['full_name']}"
    summary = [(f"{topic}/branch/main", payload["after"])] if "ref" in payload else []
    return [*summary, (topic, payload["n"])]


def compare_routed(
    name: str, published: list[T], output_of: Callable[[Stored], list[T]], stored: list[Stored], lost: Sequence[Stored]
) -> None:
    """Check that the output of all that is stored was published once, in order; that of what is lost may be, too."""
    may_be_missing = {message.id for message in lost}
    reached = {0}
    for message in sorted([*stored, *lost]):
        for one in output_of(message):
            after = {place + 1 for place in reached if published[place : place + 1] == [one]}
            assert after or message.id in may_be_missing, f"{name} lacks {one} of {message.id} at number {max(reached)}"
            reached = after | reached if message.id in may_be_missing else after
    assert len(published) in reached, f"{name} has {published[max(reached) :]} in the end"


def told(published: dict[str, Any]) -> str:
    """The SHA of a summary, the number of a whole delivery."""
    return str(published["SHA"] if "SHA" in published else published["n"])


def audible(stored: list[Stored], topic: str) -> list[Heard]:
    """Messages of the log for a listener to a safe topic or subtree."""
    subtree = not topic or topic.endswith("/")
    return [
        Heard(message.id, format_time(message.time_us), message.topic, digest(message.body))
        for message in stored
        if message.topic == topic or (subtree and message.topic.startswith(topic) and message.topic[0] != "/")
    ]
