"""Topics: those to which messages have come lately, and those of the sources."""

from collections.abc import Mapping
from typing import Any, TypedDict

from ...protocol.message import Message, format_time
from ...protocol.paths import TOPICS
from ..services import Services
from .filters import FILTERS, Filters
from .operations import Api, Asked
from .search import ONE_REQUEST, Search

_TOPIC = next(one for one in FILTERS if one.name == "topic")


class TopicShown(TypedDict):
    """A topic, and the time of its newest message; null if none was found, of a source."""

    topic: str
    time: str | None


class TopicsShown(TypedDict):
    """Topics, that with the newest message first."""

    topics: list[TopicShown]


def add_topics(api: Api, services: Services) -> None:
    """Add the operation that lists topics."""
    broker = services.broker

    async def list_(asked: Asked) -> Mapping[str, Any]:
        """Those of the newest messages, as far back as one request searches, then those of sources without any."""
        filters = Filters.read(asked)
        search = Search(broker, services.streams.reading, filters, _topic_and_time, after=broker.head + 1)
        found: dict[str, int | None] = {}
        for topic, time_us in await search.run(ONE_REQUEST.messages):
            found.setdefault(topic, time_us)
        for topic in services.access.sources.topics:
            if filters.topic is None or filters.topic.matches(topic):
                found.setdefault(topic, None)
        # A message may be seen although its topic is not: that at which a router has failed.
        seen = ((topic, time_us) for topic, time_us in found.items() if asked.scope.sees(topic))
        return {"topics": [{"topic": topic, "time": time_us and format_time(time_us)} for topic, time_us in seen]}

    api.add("GET", TOPICS, list_, "List topics", parameters=[_TOPIC], answer=TopicsShown)


def _topic_and_time(message: Message) -> tuple[str, int]:
    return message.topic, message.time_us
