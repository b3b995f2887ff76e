"""`listen` and `publish` for synchronous scripts, without async and await.

A listener runs in a thread of its own, which ends with the ``with`` block; `publish` runs in the calling thread, which
must not run Trio. Ctrl-C interrupts as usual.
"""

import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from functools import partial, wraps
from typing import Any, ParamSpec, Self, TypeVar

import trio

from . import client
from .errors import HookbotError
from .protocol.message import Message

P = ParamSpec("P")
T = TypeVar("T")

# A signal that arrives just as a wait for a lock begins does not end it (CPython); on Windows, no signal does.
WAKE_S = 1.0


class Messages:
    """Messages of a subscription: an iterator of `Message` and `Gap`, otherwise like `hookbot.client.Messages`."""

    def __init__(self, opening: AbstractAsyncContextManager[client.Messages]) -> None:
        self._opening = opening
        self._running: Future[trio.lowlevel.TrioToken] = Future()
        self._entered: Future[client.Messages] = Future()
        self._next: Future[Message | client.Gap] | None = None
        self._asking, self._asked = trio.open_memory_channel[Future[Message | client.Gap]](1)
        self._scope = trio.CancelScope()
        self._crash: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="hookbot-listen", daemon=True)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Message | client.Gap:
        """Next message or gap, as soon as there is one. Only one thread at a time may call this.

        After a `KeyboardInterrupt` it can be called again, and loses nothing.
        """
        # The request of a call that Ctrl-C interrupted is still pending: the next call waits for its result.
        if self._next is None:
            self._next = Future()
            self._ask(self._next)
        try:
            item = _result(self._next)
        except StopAsyncIteration:
            raise StopIteration from None
        self._next = None
        return item

    def _ask(self, future: "Future[Message | client.Gap]") -> None:
        try:
            self._in_thread(self._asking.send_nowait, future)
        # The thread has ended: by a crash, which it may have told the future already, or with the block.
        except trio.RunFinishedError:
            self._thread.join()
            if not future.done():
                future.set_exception(self._crash or StopAsyncIteration())

    def ack(self, message: Message) -> None:
        """Acknowledge a message soon, at the latest at the end of the block. Any thread may call this."""
        self._in_thread(_result(self._entered).ack, message)

    def awaits_reply(self, message: Message) -> bool:
        """True if the sender of a message waits for a reply, as far as can be known here. Any thread may call this."""
        return _result(self._entered).awaits_reply(message)

    def reply(self, message: Message, reply: client.Reply) -> None:
        """Reply to the sender of a message soon, before it is acknowledged. Any thread may call this.

        Raises `ValueError` without ``reply=True``.
        """
        messages = _result(self._entered)
        # Without reply=True, it raises here: in the thread, an error would end the subscription.
        messages.awaits_reply(message)
        self._in_thread(messages.reply, message, reply)

    def _start(self) -> None:
        self._thread.start()
        _result(self._entered)

    def _stop(self) -> None:
        """End the thread, even during a connect, and raise the error that it failed with, if any.

        `client.listen` still sends the last acknowledgements and its close frame.
        """
        with suppress(trio.RunFinishedError):
            self._in_thread(self._scope.cancel)
        self._thread.join()
        if self._crash is not None:
            raise self._crash

    def _in_thread(self, function: Callable[..., object], *args: object) -> None:
        self._running.result().run_sync_soon(function, *args)

    def _run(self) -> None:
        try:
            trio.run(self._listen)
        except BaseException as error:  # noqa: BLE001
            # Raised in the caller's thread, where it waits and at the end: in this one it would only be printed.
            self._crash = error
            for waiting in (self._entered, self._next):
                if waiting is not None and not waiting.done():
                    waiting.set_exception(error)

    async def _listen(self) -> None:
        self._running.set_result(trio.lowlevel.current_trio_token())
        with self._scope:
            async with self._opening as messages:
                self._entered.set_result(messages)
                async for waiting in self._asked:
                    try:
                        waiting.set_result(await anext(messages))
                    except (StopAsyncIteration, HookbotError) as end:
                        waiting.set_exception(end)


def _result(future: Future[T]) -> T:
    """Result of a future; notices Ctrl-C within `WAKE_S`."""
    while True:
        try:
            return future.result(WAKE_S)
        except TimeoutError:
            if future.done():
                return future.result()


def _with_a_thread(
    opens: Callable[P, AbstractAsyncContextManager[client.Messages]],
) -> Callable[P, AbstractContextManager[Messages]]:
    @wraps(opens)
    @contextmanager
    def listen(*args: P.args, **kwargs: P.kwargs) -> Iterator[Messages]:
        messages = Messages(opens(*args, **kwargs))
        try:
            messages._start()
            yield messages
        finally:
            messages._stop()

    return listen


def _to_the_end(works: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    @wraps(works)
    def publish(*args: P.args, **kwargs: P.kwargs) -> T:
        return trio.run(partial(works, *args, **kwargs))

    return publish


listen = _with_a_thread(client.listen)
publish = _to_the_end(client.publish)
