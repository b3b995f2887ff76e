"""A router and one message: tried, tried again, given up."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import trio

from ..errors import ConfigError, Refused
from ..protocol.message import Draft, Message
from . import Router
from .failed import describe, failed_draft, failed_in
from .publisher import MAX_PUBLISHES, DraftCollector
from .record import RouterStats
from .turn import TimeSlice

RETRY_WAITS_S = (0.1, 0.5, 2.0)
"""Before the second, third and fourth attempt at a message whose failure may pass by itself."""
UNEXPECTED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, Refused)
"""What a message that is not as expected raises. Tried again at once: waiting would only delay the ones behind it."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RouterLimits:
    """What a router may take for one message: seconds, for all attempts together, and publishes."""

    time_limit: float = 30.0
    max_publishes: int = MAX_PUBLISHES

    def __post_init__(self) -> None:
        """Raises `ConfigError` for limits that nothing could keep."""
        if self.time_limit <= 0 or self.max_publishes <= 0:
            raise ConfigError("time_limit and max_publishes are greater than 0")


class Crash(Exception):
    """What is wrong with a router is not a matter of one message: it has to be made anew."""


class RetryPolicy:
    """Has routers that are made one after the other, each when the last one crashed, deal with messages in order."""

    def __init__(self, name: str, limits: RouterLimits, record: RouterStats, turn: TimeSlice) -> None:
        self.name = name
        self._limits = limits
        self._record = record
        self._turn = turn
        self._id = ""
        self._failures = 0
        self._failure: BaseException | None = None
        self._deadline = 0.0

    async def route(self, router: Router, message: Message) -> Mapping[str, Draft]:
        """All that is to be published for the message, by name: of the router, or by way of complaint.

        Raises what calls for another router; when called with that one, goes on with the attempts that are left.
        """
        if self._id != message.id:
            self._id, self._failures = message.id, 0
            self._deadline = trio.current_time() + self._limits.time_limit
        while not self._over():
            published, error = await self._attempt(router, message)
            if error is None:
                self._record.routed += 1
                self._record.published += len(published)
                return published
            self._note(message, error)
            if isinstance(error, Crash) or not isinstance(error, Exception):
                raise error
            if not self._over():
                self._record.retried += 1
                with trio.move_on_at(self._deadline):
                    await trio.sleep(0 if isinstance(error, UNEXPECTED) else RETRY_WAITS_S[self._failures - 1])
        return self._give_up(message)

    async def _attempt(self, router: Router, message: Message) -> tuple[Mapping[str, Draft], BaseException | None]:
        publisher = DraftCollector(self.name, message, self._limits.max_publishes, self._turn)
        task = trio.lowlevel.current_task()
        nurseries = len(task.child_nurseries)
        try:
            with trio.CancelScope(deadline=self._deadline) as scope:
                await router.route(message, publisher)
            publisher.close()
            if scope.cancelled_caught:
                raise TimeoutError(f"it took longer than {self._limits.time_limit:g} s")
        except BaseException as error:
            publisher.abandon()
            if _has_to_pass(error):
                raise
            if len(task.child_nurseries) != nurseries:
                return {}, Crash("it left a nursery open")
            return {}, error
        return publisher.published, None

    def _over(self) -> bool:
        return self._failures > len(RETRY_WAITS_S) or (self._failures > 0 and trio.current_time() >= self._deadline)

    def _note(self, message: Message, error: BaseException) -> None:
        self._failures += 1
        self._failure = error
        self._record.error = f"{describe(error)} ({message.id})"
        level = logging.WARNING if self._failures == 1 else logging.DEBUG
        logger.log(level, "router %s failed on %s: %s", self.name, message.id, describe(error), exc_info=error)

    def _give_up(self, message: Message) -> Mapping[str, Draft]:
        assert self._failure
        self._record.failed += 1
        tried = f"{self._failures} attempts" if self._failures > 1 else "1 attempt"
        logger.error("router %s gives up %s after %s: %s", self.name, message.id, tried, describe(self._failure))
        if failed_in(message.topic):
            return {}  # it is kept already, and two routers must not feed on each other's failures
        return {"failed": failed_draft(self.name, message, self._failure)}


def _has_to_pass(error: BaseException) -> bool:
    """Whether an exception ends, or a group holds one that ends, more than the router."""
    beyond = (trio.Cancelled, KeyboardInterrupt)
    return isinstance(error, beyond) or (isinstance(error, BaseExceptionGroup) and error.subgroup(beyond) is not None)
