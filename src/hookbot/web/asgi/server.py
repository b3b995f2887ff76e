"""The ASGI server: serves an app over Hypercorn's protocols, connection by connection."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import trio
from hypercorn.trio.worker_context import WorkerContext

from ..limits import ConnectionLimits
from .config import ServingConfig
from .connection import AsgiConnection, Transport


class Server:
    """A server for one ASGI app. It does not run the app's lifespan: the hub's tasks live outside the app.

    A failure in one connection ends that connection only. `shut_down` sets `closing`; an endless response can watch it
    to end before it is cut.
    """

    def __init__(self, app: Any, limits: ConnectionLimits = ConnectionLimits()) -> None:  # noqa: B008 - frozen
        self.closing = trio.Event()
        self._app = app
        self._config = ServingConfig(limits)
        self._context = WorkerContext(None)
        # Hypercorn only calls `wait` and `is_set`, which a trio.Event has.
        self._context.terminated = self.closing  # type: ignore[assignment]

    def shut_down(self) -> None:
        """Stop accepting, send 1001 to websockets, and let responses finish; what is left is cut after `grace_s`."""
        self.closing.set()

    async def serve_connection(self, stream: Transport) -> None:
        """Serve an accepted connection until it is over, and close it. Does the handshake of a TLS connection first."""
        await AsgiConnection(self._app, self._config, self._context, stream).run()

    async def serve_listeners(
        self,
        listeners: Sequence[trio.abc.Listener[Any]],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Accept and serve until `shut_down`; return when every connection is over. Closes the listeners.

        If the process is out of file descriptors, `trio.serve_listeners` waits and tries again.
        """
        async with trio.open_nursery() as connections, trio.open_nursery() as accepting:
            serve = partial(trio.serve_listeners, self.serve_connection, list(listeners))
            accepting.start_soon(partial(serve, handler_nursery=connections))
            task_status.started()
            await self.closing.wait()
            accepting.cancel_scope.cancel()
