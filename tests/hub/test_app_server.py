"""The app's server: made while the fast path serves, and what happens to those who come or go before it is made."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from hookbot.hub import app_server
from hookbot.web.fastpath.epoll import AVAILABLE
from support import GUARD_S
from support.clients import connect
from support.hubs import open_whole_hub

pytestmark = pytest.mark.skipif(not AVAILABLE, reason="no epoll here: the app is made at once")

START = """
import atexit, sys, threading
from pathlib import Path
import hookbot.cli.main, hookbot.cli.serve, hookbot.cli.config_option, hookbot.cli.configure
import httptools, trio
from hookbot.hub import app_server, shutdown_limit
from hookbot.hub.config import Config
from hookbot.hub.hub import open_hub
from hookbot.hub.secret_store import StoredSecret

answered = threading.Event()
make_server = app_server._make_server

def wait_and_make(*parts):
    answered.wait()
    return make_server(*parts)

app_server._make_server = wait_and_make

async def ask(url, request):
    async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as stream:
        await stream.send_all(request.encode() + b" HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
        return b"".join([part async for part in stream])

async def main():
    config = Config(key=StoredSecret("key"), data_dir=Path(sys.argv[1]), bind=("127.0.0.1:0",), grace_s=10)
    async with open_hub(config) as hub:
        assert (await ask(hub.url, "POST /unsafe/pub/topic")).startswith(b"HTTP/1.1 200 ")
        print(*sorted({name.partition(".")[0] for name in sys.modules}))
        functions = atexit._ncallbacks()
        answered.set()
        assert (await ask(hub.url, "GET /healthz")).startswith(b"HTTP/1.1 200 ")
        assert hub.complete.is_set()
        # `ShutdownLimit` takes later ones for those of routers.
        assert atexit._ncallbacks() == functions

trio.run(main)
"""


@pytest.fixture
def import_app(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Event for which the thread that imports the app waits."""
    goes_on = threading.Event()
    make: Callable[..., Any] = app_server._make_server

    def wait_and_make(*parts: Any) -> Any:
        assert goes_on.wait(GUARD_S)
        return make(*parts)

    monkeypatch.setattr(app_server, "_make_server", wait_and_make)
    yield goes_on
    goes_on.set()


def test_a_hub_answers_a_publish_before_it_has_imported_what_only_the_app_needs(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START, str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=GUARD_S)

    late = {"quart", "quart_trio", "werkzeug", "jinja2", "flask", "hypercorn", "h2", "priority", "asyncio"}
    late |= {"httpx", "httpcore", "h11", "wsproto", "prometheus_client", "cryptography", "jwt", "jmespath"}
    assert "hookbot" in done.stdout.split()
    assert late & set(done.stdout.split()) == set()


async def test_what_the_app_answers_waits_until_it_is_made_and_a_publish_does_not(
    tmp_path: Path, import_app: threading.Event
) -> None:
    answers: list[tuple[str, int]] = []
    async with open_whole_hub(tmp_path) as hub, trio.open_nursery() as nursery:

        async def ask() -> None:
            answers.append(("status", (await hub.http.get("/status")).status_code))

        nursery.start_soon(ask)
        answers.append(("publish", (await hub.post("/unsafe/pub/x")).status_code))
        assert not hub.running.complete.is_set()
        import_app.set()

    assert answers == [("publish", 200), ("status", 200)]


async def test_a_hub_that_ends_while_the_app_is_imported_answers_who_waits_for_it(
    tmp_path: Path, import_app: threading.Event
) -> None:
    async def go_on_when_the_hub_no_longer_accepts(port: int) -> None:
        with suppress(OSError):
            while True:
                await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
        import_app.set()

    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        async with open_whole_hub(tmp_path, grace_s=GUARD_S) as hub:
            waiting = await stack.enter_async_context(await connect(hub.port))
            await waiting.send(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
            await hub.post("/unsafe/pub/x")
            nursery.start_soon(go_on_when_the_hub_no_longer_accepts, hub.port)
        answer = await waiting.rest()

    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_an_app_that_cannot_be_imported_ends_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hookbot.web.app", None)

    with pytest.raises(ImportError, match=r"hookbot\.web\.app"):
        async with open_whole_hub(tmp_path):
            await trio.sleep_forever()
