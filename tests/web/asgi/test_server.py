"""The server of an app: accepting, running out of files, and shutting down."""

import errno

import pytest
import trio

from hookbot.web.asgi import Server
from hookbot.web.limits import ConnectionLimits
from support import GUARD_S
from support.apps import ObservedApp, endless_app, open_app
from support.clients import Client

GET = b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n"
POST = b"POST /pub HTTP/1.1\r\nHost: hub\r\n"


# --- accepting


class Exhausted(trio.abc.Listener[trio.SocketStream]):
    """A listener of a process that has no file descriptor left, once."""

    def __init__(self, listener: trio.SocketListener, code: int) -> None:
        self.listener = listener
        self.errors = [OSError(code, "no more")]

    async def accept(self) -> trio.SocketStream:
        if self.errors:
            raise self.errors.pop()
        return await self.listener.accept()

    async def aclose(self) -> None:
        await self.listener.aclose()


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE])
async def test_running_out_of_file_descriptors_is_waited_out(app: ObservedApp, code: int) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    server = Server(app)
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve_listeners, [Exhausted(listener, code)])
            async with Client(await trio.testing.open_stream_to_socket_listener(listener)) as client:
                await client.send(GET)
                await client.until(b"hello")
            server.shut_down()


# --- shutting down


async def test_a_shutdown_closes_what_is_idle_and_lets_answers_finish() -> None:
    app = ObservedApp()
    begun, go_on = trio.Event(), trio.Event()

    @app.get("/")
    async def slow() -> str:
        begun.set()
        await go_on.wait()
        return "hello"

    async with open_app(app, grace_s=GUARD_S) as hub, await hub.connect() as idle, await hub.connect() as busy:
        await busy.send(GET)
        await begun.wait()
        hub.server.shut_down()

        assert await idle.rest() == b""
        go_on.set()
        answer = await busy.rest()
        assert b"\r\nconnection: close\r\n" in answer.lower()
        assert answer.endswith(b"hello")
        with pytest.raises(OSError, match="connect"):
            await hub.connect()


async def test_a_shutdown_cuts_what_does_not_end_also_when_its_reader_takes_nothing() -> None:
    app = endless_app()
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    server = Server(app, ConnectionLimits(grace_s=0.05, stall_s=1000))
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            await nursery.start(server.serve_listeners, listeners)
            stalled = Client(await trio.testing.open_stream_to_socket_listener(listeners[0]))
            await stalled.send(GET.replace(b"/ ", b"/flood "))
            await stalled.stream.receive_some(1)
            server.shut_down()
        assert app.ended.is_set()
        await trio.aclose_forcefully(stalled.stream)
