"""A server for an ASGI app that stays up on the open internet."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import trio
from hypercorn.trio.worker_context import WorkerContext

from ..limits import ConnectionLimits
from .config import ServingConfig
from .connection import AsgiConnection, Transport


class Server:
    """Serves an ASGI app, connection by connection; the app's lifespan is not run (trap 11).

    What fails in one connection ends that connection. `closing` is set by `shut_down`; an endless response may watch
    it, to end before it is cut.
    """

    def __init__(self, app: Any, limits: ConnectionLimits = ConnectionLimits()) -> None:  # noqa: B008 - frozen
        self.closing = trio.Event()
        self._app = app
        self._config = ServingConfig(limits)
        self._context = WorkerContext(None)
        self._context.terminated = self.closing  # type: ignore[assignment]  # only waited for and asked

    def shut_down(self) -> None:
        """Stop accepting, say 1001 to websockets, let answers finish; after `grace_s` cut what is left."""
        self.closing.set()

    async def serve_connection(self, stream: Transport) -> None:
        """Serve one accepted connection until it is over, and close it. TLS may still have to shake hands."""
        await AsgiConnection(self._app, self._config, self._context, stream).run()

    async def serve_listeners(
        self,
        listeners: Sequence[trio.abc.Listener[Any]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve until `shut_down`; return when every connection is over. Closes the listeners.

        When the process is out of file descriptors, `trio.serve_listeners` waits and tries again.
        """
        async with trio.open_nursery() as connections, trio.open_nursery() as accepting:
            serve = partial(trio.serve_listeners, self.serve_connection, list(listeners))
            accepting.start_soon(partial(serve, handler_nursery=connections))
            task_status.started()
            await self.closing.wait()
            accepting.cancel_scope.cancel()
