"""Sources: what each has accepted and refused, and a test of it."""

from collections.abc import Mapping
from typing import Any, TypedDict
from urllib.parse import quote

import trio

from ...access.control import AccessControl
from ...access.sample_deliveries import request_of, sample_topic, sign_sample
from ...access.sources import Source
from ...alerts.subjects import AlertShown, Subject
from ...errors import NotFound, Refused
from ...log.trusted_clock import TrustedClock
from ...protocol.message import Draft, format_time
from ...protocol.paths import SOURCES, path_to
from ...protocol.response import Response
from ...protocol.since import format_duration
from ...protocol.topics import TopicFilter, is_unsafe
from ...signatures.samples import HANDSHAKES, TEST, check_event, event_names
from ..services import Services
from .filters import TOPIC_SCHEMA
from .operations import Api, Asked, Parameter
from .public_url import public_url

_TOPIC = Parameter("topic", "Topic of the source, or one beneath it", {**TOPIC_SCHEMA, "minLength": 1}, required=True)
_EVENT = Parameter("event", "Event that the test tells of, by default one that says that it is a test")


class SourceShown(TypedDict):
    """A source, and what came to it since the hub was started. It is silent once it has an alert."""

    topic: str
    provider: str
    url: str
    needs_token: bool
    accepted: int
    refused: int
    duplicates: int
    last_accepted: str | None
    last_refused: str | None
    why: str | None
    expect_every: str | None
    silent_since: str | None
    testable: bool
    untestable: str | None


class SourcesShown(TypedDict):
    """The sources of the hub."""

    sources: list[SourceShown]


class EventsShown(TypedDict):
    """The events that tests can tell of, by provider."""

    events: dict[str, list[str]]


class Tested(TypedDict):
    """The message that a test has stored."""

    id: str


def add_sources(api: Api, services: Services) -> None:
    """Add the operations on sources."""
    access, clock = services.access, services.broker.clock

    async def list_(asked: Asked) -> Mapping[str, Any]:
        """The `url` is for the sender; one that `needs_token` has none, because nobody but its maker may know it.

        `why` is the reason for the last refusal, and `untestable` that for which there is no test.
        """
        shown, base = [], public_url(access, asked.plain)
        firing = await services.alerts.firing() if services.alerts.expecting else {}
        for source in access.sources:
            if asked.scope.sees(source.topic):
                shown.append(_to_json(source, base, clock, firing))
                # To sign a sample may take a millisecond.
                await trio.lowlevel.checkpoint()
        return {"sources": shown}

    async def events(asked: Asked) -> Mapping[str, Any]:
        """For each provider that a source has, the events of which there are samples."""
        providers = {source.provider.name for source in access.sources if asked.scope.sees(source.topic)}
        return {"events": {name: _testable_events(name) for name in sorted(providers)}}

    async def test(asked: Asked) -> Mapping[str, Any]:
        """A sample, signed with the first secret of the source, is verified and stored like a delivery of its sender.

        It takes a token for operators, or those that see the topic and publish to it.
        """
        topic = sample_topic(asked.need("topic"))
        source = access.sources.find(topic) if asked.scope.sees(topic) else None
        if source is None:
            raise NotFound(f"no source has the topic {topic[:100]!r}")
        asked.scope.check_manages(TopicFilter((topic,)))
        event = check_event(source.provider.name, asked.get("event") or TEST)
        published = await services.broker.publish(await _sample(access, source, topic, event, asked.plain.client))
        asked.audit("a test was sent to a source", topic=topic, event=event, message_id=published.id)
        return {"id": published.id}

    api.add("GET", SOURCES, list_, "List the sources", answer=SourcesShown)
    api.add("GET", f"{SOURCES}/events", events, "List the events that tests can tell of", answer=EventsShown)
    api.add("POST", f"{SOURCES}/test", test, "Send a test to a source", parameters=[_TOPIC, _EVENT], answer=Tested)


def _to_json(source: Source, base: str, clock: TrustedClock, firing: Mapping[str, AlertShown]) -> Mapping[str, Any]:
    def time_of(at_s: float | None) -> str | None:
        return None if at_s is None else format_time(clock() - int((clock.monotonic_s - at_s) * 1e6))

    alert = firing.get(Subject("source", source.topic).key)
    activity, untestable = source.activity, _why_untestable(source, clock)
    return {
        "topic": source.topic,
        "provider": source.provider.name,
        "url": (source.url or base) + quote(path_to("publish", source.topic)),
        "needs_token": not is_unsafe(source.topic),
        "accepted": activity.accepted,
        "refused": activity.refused,
        "duplicates": activity.duplicates,
        "last_accepted": time_of(activity.last_accepted_s),
        "last_refused": time_of(activity.last_refused_s),
        "why": activity.why or None,
        "expect_every": format_duration(source.expect_every_s) if source.expect_every_s else None,
        "silent_since": alert and alert["since"],
        "testable": untestable is None,
        "untestable": untestable,
    }


async def _sample(access: AccessControl, source: Source, topic: str, event: str, client: str) -> Draft:
    """Draft of a sample, verified like a delivery. Raises `Refused` if it is a handshake, or cannot be signed."""
    signed = sign_sample(source, topic, event=event, now_s=access.now_s)
    draft = await access.verifier.verify(access.admit_sample(request_of(signed, client)), signed.body)
    if isinstance(draft, Response):
        raise Refused(f"the hub answers {event!r} of {source.provider.name}, and stores nothing: it is a handshake")
    return draft


def _testable_events(provider: str) -> list[str]:
    return [event for event in event_names(provider) if event not in HANDSHAKES]


def _why_untestable(source: Source, clock: TrustedClock) -> str | None:
    try:
        sign_sample(source, sample_topic(source.topic), now_s=clock() / 1e6)
    except Refused as error:
        return str(error)
    return None
