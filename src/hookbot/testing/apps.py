"""Apps served for a test."""

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from io import BytesIO
from typing import Any

from .background import in_background

App = Callable[..., Any]
"""A WSGI or ASGI app, such as those of Flask, Django, FastAPI or Starlette."""

# A test does not wait for connections that it has left open.
_GRACE_S = 1.0
# How long the end of a server of WSGI takes.
_POLL_S = 0.02


@contextmanager
def serving(app: App) -> Iterator[str]:
    """URL of an app, which is served on a free port by threads of its own until the block ends.

    An ASGI app runs on asyncio, and gets the events of its lifespan; errors that this raises are raised here. Errors of
    requests are answered with 500, and logged with their traceback.
    """
    from hypercorn.utils import is_asgi  # noqa: PLC0415

    with (_serving_asgi if is_asgi(app) else _serving_wsgi)(app) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def _serving_wsgi(app: App) -> Iterator[int]:
    # Not Hypercorn, which answers nothing if an app has no body.
    from werkzeug.serving import WSGIRequestHandler, make_server  # noqa: PLC0415

    class Quiet(WSGIRequestHandler):
        def log_request(self, *_: object) -> None:
            pass

    def with_end(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        # An app may read to the end of the body (PEP 3333), which is not that of the connection.
        if not environ.get("wsgi.input_terminated"):
            size = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"] = BytesIO(environ["wsgi.input"].read(size))
        body: Iterable[bytes] = app(environ, start_response)
        return body

    with make_server("127.0.0.1", 0, with_end, threaded=True, request_handler=Quiet) as server:

        def run(ready: Future[int]) -> None:
            ready.set_result(server.server_port)
            server.serve_forever(_POLL_S)

        with in_background(run, lambda _: server.shutdown()) as port:
            yield port


@contextmanager
def _serving_asgi(app: App) -> Iterator[int]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with in_background(lambda ready: asyncio.run(_serve(app, bound, ready)), lambda stop: stop()):
            yield bound.getsockname()[1]


async def _serve(app: App, bound: socket.socket, ready: "Future[Callable[[], object]]") -> None:
    from hypercorn.asyncio import serve  # noqa: PLC0415
    from hypercorn.config import Config  # noqa: PLC0415

    config = Config()
    # The server closes its own.
    config.bind = [f"fd://{os.dup(bound.fileno())}"]
    config.loglevel = "ERROR"
    config.graceful_timeout = _GRACE_S
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()

    async def until_stopped() -> None:
        # Awaited when the app has started and the server listens.
        ready.set_result(lambda: loop.call_soon_threadsafe(stopped.set))
        await stopped.wait()

    await serve(app, config, shutdown_trigger=until_stopped, mode="asgi")
