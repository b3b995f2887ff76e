"""Attempts of a router at one message: limited, counted, retried, and finally given up."""

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

import trio

from ..broker.time_slices import TimeSlice
from ..errors import ConfigError, HookbotError, Refused, describe, sole_error
from ..protocol.failures import Failure, failed_in, without_failure
from ..protocol.message import Draft, Message
from . import Router
from .computing import ComputingRouter, computes_at_once
from .outbox import MAX_PUBLISHES, DraftCollector
from .runs import END_S, Crash, Run

RETRY_WAITS_S = (0.1, 0.5, 2.0)
"""Delays before the second, third and fourth attempt, if the failure may be temporary."""
UNEXPECTED = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, Refused)
"""Errors of code that did not expect such a message. Retried at once: a delay would only hold up later messages."""
EXPLAINED = (ValueError, HookbotError, TimeoutError)
"""Errors whose text says what is wrong with the message. Others may be bugs, and are logged with a traceback."""

logger = logging.getLogger(__package__)


@dataclass(frozen=True, slots=True)
class RouterLimits:
    """Limits of a router for one message: seconds for all attempts together, and number of publishes."""

    time_limit: float = 30.0
    max_publishes: int = MAX_PUBLISHES

    def __post_init__(self) -> None:
        """Raise `ConfigError` for limits that are not positive."""
        for name in ("time_limit", "max_publishes"):
            # Not a number is in no relation to 0.
            if not (value := getattr(self, name)) > 0:
                raise ConfigError(f"{name} must be greater than 0, not {value!r}")


@dataclass(slots=True)
class RouterStats:
    """Counters and state of a router since its process started."""

    state: str = "starting"
    """``starting``, ``running``, ``waiting for restart``, ``stopped`` because too many abandoned ones still run, or
    ``standby`` while another hub runs it."""
    routed: int = 0
    published: int = 0
    retried: int = 0
    failed: int = 0
    gaps: int = 0
    restarts: int = 0
    blocked: int = 0
    """Number of times it blocked the event loop."""
    abandoned: int = 0
    """Number of runs, and of threads, that were abandoned because they did not end."""
    error: str = ""
    """Last error, in one line."""


class RetryPolicy:
    """Retries failed attempts at each message, in order. Attempts are counted across restarts of the router."""

    def __init__(self, name: str, limits: RouterLimits, stats: RouterStats, time_slice: TimeSlice) -> None:
        self.name = name
        self._limits = limits
        self._stats = stats
        self._time_slice = time_slice
        self._message: Message | None = None
        self._publisher: DraftCollector | None = None
        """The publisher of the attempt that is under way."""
        self._failures = 0
        self._failure: BaseException | None = None
        self._deadline = 0.0

    async def route(self, router: Router, message: Message, run: Run) -> Mapping[str, Draft]:
        """Route a message, with retries, and return the drafts to store, by name.

        These are the router's or, after the last attempt, the failed message; none if it is from a topic of failed
        messages.

        Raises an error after which the router must be restarted; called again with the same message, it continues with
        the attempts that are left.
        """
        # The same id after a restart: its failures and its deadline still count, or a message that crashes the
        # router each time would never be given up.
        if self._message is None or self._message.id != message.id:
            self._message, self._failures = message, 0
            self._deadline = trio.current_time() + self._limits.time_limit
        while not self._is_exhausted():
            run.check_threads()
            published, error = await self._attempt(router, message, run)
            if error is None:
                self._stats.routed += 1
                self._stats.published += len(published)
                return published
            self._note_failure(message, error)
            if isinstance(error, Crash) or not isinstance(error, Exception):
                raise error
            if not self._is_exhausted():
                self._stats.retried += 1
                with trio.move_on_at(self._deadline):
                    await trio.sleep(0 if isinstance(error, UNEXPECTED) else RETRY_WAITS_S[self._failures - 1])
        return self._give_up(message)

    def abandon(self) -> None:
        """Count the attempt that is under way, if any, as failed, and reject what it publishes from now on."""
        if self._publisher and self._message:
            self._publisher.abandon()
            self._publisher = None
            self._note_failure(self._message, self._out_of_time())

    async def _attempt(
        self, router: Router, message: Message, run: Run
    ) -> tuple[Mapping[str, Draft], BaseException | None]:
        publisher = self._publisher = DraftCollector(self.name, message, self._limits.max_publishes, self._time_slice)
        if computes_at_once(router, message):
            error = _compute(router, message, publisher)
        else:
            error = await self._call(router, message, publisher, run)
        self._publisher = None
        return publisher.published if error is None else {}, error

    async def _call(
        self, router: Router, message: Message, publisher: DraftCollector, run: Run
    ) -> BaseException | None:
        task = trio.lowlevel.current_task()
        nurseries = len(task.child_nurseries)
        threads = run.threads.running()
        # Most routers that are cancelled end at once.
        run.expires = self._deadline + END_S
        try:
            with trio.CancelScope(deadline=self._deadline) as scope:
                await router.route(message, publisher)
            publisher.close()
            error: BaseException | None = self._out_of_time() if scope.cancelled_caught else None
        # It may raise anything: SystemExit, or a Cancelled that it has kept.
        except BaseException as raised:
            publisher.abandon()
            if run.cancelled:
                raise
            error = raised
        run.check()
        run.expires = math.inf
        # Its tasks run on until this task ends: the router must be restarted, in a task of its own.
        if error is not None and len(task.child_nurseries) != nurseries:
            error = Crash("it left a nursery open")
        if isinstance(error, TimeoutError | trio.TooSlowError):
            self._note_threads(run.threads.add_since(threads))
        return error

    def _out_of_time(self) -> TimeoutError:
        return TimeoutError(f"its time limit of {self._limits.time_limit:g} s for one message is over")

    def _is_exhausted(self) -> bool:
        return self._failures > len(RETRY_WAITS_S) or (self._failures > 0 and trio.current_time() >= self._deadline)

    def _note_failure(self, message: Message, error: BaseException) -> None:
        self._failures += 1
        self._failure = error
        self._stats.error = f"{describe(error)} ({message.id})"
        # One warning is enough, and none if the attempts are over at once: giving up is logged in any case.
        over = self._failures > 1 or isinstance(error, UNEXPECTED) or self._is_exhausted()
        level = logging.DEBUG if over else logging.WARNING
        what = self.name, message.id, describe(error)
        logger.log(level, "router %s failed on %s, trying again: %s", *what, extra=self._fields(message))

    def _fields(self, message: Message) -> Mapping[str, str]:
        return {"router": self.name, "message_id": message.id, "topic": message.topic}

    def _note_threads(self, number: int) -> None:
        self._stats.abandoned += number
        if number:
            logger.error("router %s leaves threads behind that still run: %d", self.name, number)

    def _give_up(self, message: Message) -> Mapping[str, Draft]:
        assert self._failure
        self._stats.failed += 1
        tried = f"{self._failures} attempts" if self._failures > 1 else "1 attempt"
        logger.error(
            "router %s gives up %s after %s: %s",
            self.name,
            message.id,
            tried,
            describe(self._failure),
            exc_info=_unless_explained(self._failure),
            extra=self._fields(message),
        )
        # A failed message is stored already, and two routers must not pass their failures back and forth.
        if failed_in(message.topic):
            return {}
        return {"failed": failed_draft(self.name, message, self._failure)}


def _compute(router: ComputingRouter, message: Message, publisher: DraftCollector) -> BaseException | None:
    """Publish what a router computes at once; return its error. No time limit could end what waits for nothing."""
    try:
        for one in router.publishes(message):
            publisher.collect(*one)
        publisher.close()
    except BaseException as error:  # noqa: BLE001
        return error
    return None


def failed_draft(router: str, message: Message, error: BaseException) -> Draft:
    """Draft of a failed message, with headers that name the router, the error, and the message's id and topic.

    Its hops do not include the router: published again to its topic, it reaches the router again.
    """
    failure = Failure(router, message.id, message.topic, describe(error))
    headers = (*without_failure(message.headers), *failure.headers)
    of_message = message.query, message.verified, message.hops
    return Draft(failure.failed_topic, message.body, headers, *of_message, routed_from=message.id)


def _unless_explained(error: BaseException) -> BaseException | None:
    """The error, to be logged with its traceback, or None if it needs none."""
    return None if isinstance(sole_error(error), EXPLAINED) and not logger.isEnabledFor(logging.DEBUG) else error
