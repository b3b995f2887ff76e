"""Runs of a router: its code runs in tasks that nothing waits for without limit.

Trio cannot end a task that waits for a thread, or in a shielded scope. A run that does not end is abandoned: it goes on
until it ends by itself, but has no effect any more.
"""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar, copy_context
from inspect import unwrap

import trio

from . import Router
from .loading import entered
from .threads import START_LIMIT_S

ROUTER: ContextVar[str] = ContextVar("router", default="")
"""Name of the router whose code runs, in all tasks and threads that it starts, too; empty outside of any."""

END_S = 1.0
"""Time that a router has to end after it was cancelled: enough to close a connection."""

MAX_HANGING = 10
"""Abandoned runs and threads of a router that have not ended; with more, it is not started again."""

# Prefix of the names of the tasks in which routers run.
_TASK = "router "


class Crash(Exception):
    """A failure that is not about one message: the router must be restarted."""


class LeftThreads:
    """Trio's threads that a router did not wait for when its time was over (`abandon_on_cancel`), and that still run.

    Its length is their number.
    """

    def __init__(self) -> None:
        self._left: set[object] = set()

    def __len__(self) -> int:
        if self._left:
            self._left &= self.running()
        return len(self._left)

    def running(self) -> set[object]:
        """All threads of routers that run now."""
        limiter = trio.to_thread.current_default_thread_limiter()
        # Asked for each message; its statistics take ten times as long, and nearly always there is none.
        return set(limiter.statistics().borrowers) if limiter.borrowed_tokens else set()

    def add_since(self, before: set[object]) -> int:
        """Add those that have started since these were `running`, and return how many there are.

        Those for which another router still waits are not among them.
        """
        new = self.running() - before - self._left
        if new:
            new -= _awaited()
        self._left |= new
        return len(new)


def _awaited() -> set[object]:
    """Threads for which the task of a router waits.

    Trio does not tell whose a thread is: this relies on the variable `placeholder` of `trio.to_thread.run_sync`. If it
    were renamed, a router could be blamed for a thread of another, for as long as that runs.
    """
    code = unwrap(trio.to_thread.run_sync).__code__
    root = trio.lowlevel.current_root_task()
    tasks = [task for task in _children(root) if task.name.startswith(_TASK)] if root else []
    awaited: set[object] = set()
    while tasks:
        task = tasks.pop()
        tasks += _children(task)
        frames = [frame for frame, _ in task.iter_await_frames() if frame.f_code is code]
        awaited.update(frame.f_locals.get("placeholder") for frame in frames)
    return awaited


def _children(task: trio.lowlevel.Task) -> list[trio.lowlevel.Task]:
    return [child for nursery in task.child_nurseries for child in nursery.child_tasks]


class Run:
    """One run of a router: from its start until it crashes, is ended, or is abandoned."""

    def __init__(self, threads: LeftThreads) -> None:
        self.threads = threads
        """Threads that this run and those before have left behind."""
        self.ended = trio.Event()
        self.expires = math.inf
        """Time at which the present step of the router must have ended, on Trio's clock."""
        self.cancelled = False
        self.abandoned = False
        self.crash: BaseException | None = None
        """Error that ended it."""
        self._scope = trio.CancelScope()

    def start(self, name: str, function: Callable[["Run"], Awaitable[None]]) -> None:
        """Call the function in a task outside of all nurseries. Its errors, of whatever kind, end nothing else."""
        context = copy_context()
        context.run(ROUTER.set, name)
        trio.lowlevel.spawn_system_task(self._run, function, name=f"{_TASK}{name}", context=context)

    async def end(self, within_s: float) -> None:
        """Cancel the run, and abandon it if it has not ended within this time."""
        self.cancelled = True
        self._scope.cancel()
        with trio.CancelScope(shield=True), trio.move_on_after(within_s):
            await self.ended.wait()
        self.abandoned = not self.ended.is_set()

    def check(self) -> None:
        """Raise `Crash` if the run was abandoned, after a step of the router that may have taken too long."""
        if self.abandoned:
            raise Crash("it was abandoned before")

    def check_threads(self) -> None:
        """Raise `Crash` if too many threads have been left behind to start more."""
        if len(self.threads) >= MAX_HANGING:
            raise Crash(f"{len(self.threads)} of its threads have not ended")

    @asynccontextmanager
    async def entered(self, make: Callable[[], Awaitable[Router]]) -> AsyncIterator[Router]:
        """Make and enter a router for the block, and exit it after that, each within `START_LIMIT_S`."""
        self.expires = trio.current_time() + START_LIMIT_S
        router = await make()
        self.check()
        async with entered(router):
            self.check()
            self.expires = math.inf
            try:
                yield router
            finally:
                self.expires = trio.current_time() + START_LIMIT_S

    async def _run(self, function: Callable[["Run"], Awaitable[None]]) -> None:
        try:
            # In a task of its own: nurseries and cancel scopes that a router has left open end with the task.
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._call, function)
        except BaseException as error:  # noqa: BLE001
            self.crash = error if self.crash is None else self.crash
        self.ended.set()

    # A Ctrl-C is never raised here, so that a `KeyboardInterrupt` is one that the router has raised.
    @trio.lowlevel.enable_ki_protection
    async def _call(self, function: Callable[["Run"], Awaitable[None]]) -> None:
        try:
            await function(self)
            raise Crash("it suppressed the error that ended it: its __aexit__ must not return true")
        except BaseException as error:
            self.crash = error
            raise
