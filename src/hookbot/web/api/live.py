"""The live view: summaries of new messages, for people, who read no more than some in a second.

It costs the hub little, however many there are: messages are counted as they come, and looked at a few times a second,
the newest first. So it is no subscription: it leaves out what came in between, and says how much.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Literal, NotRequired, TypedDict, cast

import trio
from quart import Response, request

from ...access.refusals import Refusal
from ...broker.channels import Channel, Entry
from ...errors import Ended, MethodNotAllowed, TooManyRequests, Unauthorized
from ...protocol.envelope import encode_line
from ...protocol.expressions import TooManySteps
from ...protocol.message import format_id
from ...protocol.paths import LIVE
from ...protocol.topics import TopicFilter
from ...threads import ThreadSlices, hub_threads
from ..asgi import abort_of
from ..held_bytes import Abort
from ..services import Services
from ..streams import STREAM_HEADERS
from .admission import is_valid
from .filters import FILTERS, Filters
from .operations import JSON_LINES, Api, Asked
from .refusals import RefusalShown, matches, sees, to_json
from .summaries import Summary, summarize

MAX_DRAWN = 50
"""Number of messages that are shown at a time; the rest is counted."""
# Between two of these times: what comes meanwhile is shown together.
PAUSE_S = 0.2
# For expressions and large bodies, of one view each time.
LOOK_S = 0.05


class LiveLine(TypedDict):
    """A line of the live view, of one of these types."""

    type: Literal["hello", "message", "refusal", "left_out", "heartbeat"]
    head: NotRequired[str]
    message: NotRequired[Summary]
    refusal: NotRequired[RefusalShown]
    number: NotRequired[int]


def add_live(api: Api, services: Services) -> None:
    """Add the operation that shows new messages."""

    async def live(asked: Asked) -> Response:
        """New messages that match, as lines of JSON, until the client leaves or its token is no longer valid.

        Refused requests are shown, too, unless the filters are about what only messages have. If more come at once than
        anybody could read, the newest are shown; the `number` of those `left_out` counts the others, also those that
        were not compared with the filters.
        """
        if asked.plain.method != "GET":
            raise MethodNotAllowed("the live view never ends, so it takes a GET", allow="GET")
        view = LiveView(services, asked, Filters.read(asked), abort_of(request))
        services.access.active.check(view.grant, view.request.wanted)
        return Response(view.lines(), content_type=JSON_LINES, headers=STREAM_HEADERS)

    api.add("GET", LIVE, live, "Show new messages", parameters=FILTERS, lines=LiveLine)


@dataclass(frozen=True, slots=True)
class LiveRequest:
    """Request of a live view, as subscriptions are listed."""

    wanted: TopicFilter
    format: Literal["live"] = "live"
    cursor: str = ""
    group: str = ""


class LiveView:
    """A live view of one client. Its subscription is active as long as all of its tokens are valid."""

    number = since_us = 0

    def __init__(self, services: Services, asked: Asked, filters: Filters, abort: Abort) -> None:
        """`abort` ends the connection if too much waits for slow clients, and this one holds most."""
        self._services = services
        self._broker = services.broker
        self._turns = services.streams.reading.requests
        self._held = services.streams.held
        self._abort = abort
        self._filters = filters
        # If one sees all that is read, nothing needs to be looked at to be counted.
        self._sees_all = asked.scope.sees_all(filters.wanted)
        self.grant = asked.scope.ends_first
        self.client = asked.plain.client
        self.request = LiveRequest(asked.scope.wanted)
        self._counted = self._drawn = self._broker.head
        """Position of the newest message that was counted, and of the newest that was looked at."""
        self._pending = 0
        """Number of messages that were counted since then."""
        self._refused = services.access.refusals.number
        """Number of the newest refusal that was looked at."""
        self._sent_at = trio.current_time()
        self._news = trio.Event()
        self._ended = False

    def skip_unwanted(self) -> int:
        """The head: whatever it has not shown by then, it leaves out."""
        return self._broker.head

    def dismiss(self, reason: Ended) -> None:
        """End with the current line."""
        self._ended = True
        self._news.set()

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """The response. It has no close code: if the view has to end, it just ends."""
        with (
            suppress(TooManyRequests, Unauthorized),
            self._services.streams.attach(self),
            self._broker.channels.open(self._filters.wanted) as channel,
        ):

            def count() -> None:
                self._count(channel.after(max(self._counted, channel.floor)))

            channel.wakers.add(count)
            try:
                yield _encoded({"type": "hello", "head": self._head})
                while await self._wait():
                    # One view at a time, whether or not there is something to look at in a thread.
                    async with self._turns.of(self._filters.scope.holder):
                        data = b"".join(map(_encoded, await self._draw(channel) or self._heartbeat()))
                    if data:
                        self._sent_at = trio.current_time()
                        self._held.hold(self, data, len(data), what=LIVE, cut=self._abort)
                        yield data
                        self._held.release(self)
                    await trio.sleep(PAUSE_S)
            finally:
                self._held.release(self)
                channel.wakers.discard(count)

    @property
    def _head(self) -> str:
        return format_id(self._broker.log.epoch, self._broker.head)

    def _count(self, entries: Sequence[Entry]) -> None:
        if entries:
            self._counted = entries[-1].position
            sees = self._filters.scope.sees
            self._pending += len(entries) if self._sees_all else sum(sees(one.message.topic) for one in entries)
            self._news.set()

    async def _wait(self) -> bool:
        """Wait for something to show, or until a heartbeat is due; false if the view has to end."""
        with trio.move_on_at(self._sent_at + self._services.streams.heartbeat_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._wait_for_refusal)
                await self._news.wait()
                nursery.cancel_scope.cancel()
        return not self._ended and is_valid(self._services.access, self._filters.scope)

    async def _wait_for_refusal(self) -> None:
        await self._services.access.refusals.wait_after(self._refused)
        self._news.set()

    def _heartbeat(self) -> Sequence[LiveLine]:
        is_due = trio.current_time() >= self._sent_at + self._services.streams.heartbeat_s
        return [{"type": "heartbeat", "head": self._head}] if is_due else []

    async def _draw(self, channel: Channel) -> Sequence[LiveLine]:
        self._news = trio.Event()
        refusals = self._take_refusals()
        shown: list[LiveLine] = [
            {"type": "refusal", "refusal": cast(RefusalShown, to_json(one))} for one in refusals[-MAX_DRAWN:]
        ]
        left_out = len(refusals) - len(shown)
        if self._drawn < self._counted:
            # What has left memory by now is only counted.
            entries = channel.after(max(self._drawn, channel.floor))
            self._drawn = self._counted
            number, self._pending = self._pending, 0
            summaries, looked_at = await trio.to_thread.run_sync(self._look, entries, limiter=hub_threads())
            shown += [{"type": "message", "message": summary} for summary in reversed(summaries)]
            left_out += max(0, number - looked_at)
        return [{"type": "left_out", "number": left_out}, *shown] if left_out else shown

    def _take_refusals(self) -> Sequence[Refusal]:
        """The refusals that match and were not looked at, oldest first."""
        filters, refusals = self._filters, self._services.access.refusals
        seen, self._refused = self._refused, refusals.number
        if refusals.number == seen or filters.event or filters.verdict or filters.where:
            return []
        return [
            one
            for one in refusals.after(seen)
            if sees(filters.scope, one) and matches(one, filters.topic, filters.provider, filters.text)
        ]

    def _look(self, entries: Sequence[Entry]) -> tuple[Sequence[Summary], int]:
        """Summaries of the newest that match, newest first, and how many of those that were counted it looked at."""
        found: list[Summary] = []
        slices = ThreadSlices()
        ends_at, counted = monotonic() + LOOK_S, 0
        for entry in reversed(entries):
            if len(found) == MAX_DRAWN or (counted and monotonic() > ends_at):
                break
            slices.rest_if_over()
            counted += self._filters.scope.sees(entry.message.topic)
            with suppress(TooManySteps):
                if self._filters.matches(entry.message):
                    found.append(summarize(entry.message))
        return found, counted


def _encoded(line: LiveLine) -> bytes:
    return encode_line(line)
