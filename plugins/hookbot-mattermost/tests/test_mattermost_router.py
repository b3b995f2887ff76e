import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import hookbot_mattermost
import pytest
import trio
from hookbot_mattermost import MattermostRouter, text_of

from hookbot import ConfigError, Secret
from hookbot.testing import open_test_hub, route

SHA = "1f2e3d4c5b6a798897a6b5c4d3e2f10f1e2d3c4b"
PUSH = {"Type": "push", "Repo": "acme/app", "Branch": "main", "SHA": SHA, "Who": "ann"}
TOPIC = "github.com/repo/acme/app/branch/main"


class Mattermost(ThreadingHTTPServer):
    """A server that gives the scripted responses first, and then accepts posts."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.posts: list[dict[str, str]] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        self.secret = Secret(f"http://127.0.0.1:{self.server_port}/hooks/s3cret")


class Handler(BaseHTTPRequestHandler):
    server: Mattermost

    def do_POST(self) -> None:
        self.server.posts.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        status, headers = self.server.answers.pop(0) if self.server.answers else (200, {})
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mattermost() -> Iterator[Mattermost]:
    with Mattermost() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Delays between the attempts of the router, which does not really wait."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(hookbot_mattermost, "sleep", sleep)
    return waits


async def tell(
    server: Mattermost, push: dict[str, str] = PUSH, topic: str = TOPIC, **options: Any
) -> list[tuple[str, bytes]]:
    return await route(MattermostRouter(server.secret, **options), topic, json.dumps(push).encode())


async def test_a_push_is_posted_and_nothing_published(mattermost: Mattermost) -> None:
    assert await tell(mattermost) == []
    assert mattermost.posts == [
        {"text": f"ann pushed [`1f2e3d4`](https://github.com/acme/app/commit/{SHA}) to `main` of acme/app"}
    ]


async def test_another_channel_can_be_told(mattermost: Mattermost) -> None:
    await tell(mattermost, channel="deploys")
    assert mattermost.posts[0]["channel"] == "deploys"


async def test_what_is_no_summary_of_a_push_is_not_told(mattermost: Mattermost) -> None:
    await tell(mattermost, topic="github.com/repo/acme/app")
    assert mattermost.posts == []


async def test_a_server_that_is_busy_is_asked_again_when_it_says(mattermost: Mattermost, waits: list[float]) -> None:
    mattermost.answers = [(429, {"Retry-After": "2"}), (503, {})]
    await tell(mattermost)
    assert len(mattermost.posts) == 3
    assert waits == [2.0, 2.0]


async def test_no_server_may_ask_for_a_longer_wait_than_the_hub_has_patience(
    mattermost: Mattermost, waits: list[float]
) -> None:
    mattermost.answers = [(429, {"Retry-After": "3600"})]
    await tell(mattermost)
    assert waits == [hookbot_mattermost.LONGEST_WAIT_S]


@pytest.mark.parametrize(("status", "attempts"), [(500, 3), (429, 3), (403, 1), (400, 1)])
async def test_what_is_not_taken_is_an_error_that_does_not_show_the_address(
    mattermost: Mattermost, waits: list[float], status: int, attempts: int
) -> None:
    mattermost.answers = [(status, {})] * attempts
    with pytest.raises(RuntimeError, match=f"Mattermost rejected the post: status {status}") as caught:
        await tell(mattermost)
    assert len(mattermost.posts) == attempts
    assert "s3cret" not in str(caught.value)


async def test_a_server_that_is_not_there_is_an_error(waits: list[float]) -> None:
    with Mattermost() as gone:
        pass
    with pytest.raises(RuntimeError, match="ConnectError"):
        await tell(gone)


async def test_a_server_that_never_answers_is_not_waited_for(waits: list[float]) -> None:
    with trio.socket.socket() as silent:
        await silent.bind(("127.0.0.1", 0))
        silent.listen()
        router = MattermostRouter(Secret(f"http://127.0.0.1:{silent.getsockname()[1]}/"), timeout=0.05)
        with pytest.raises(RuntimeError, match="ReadTimeout"):
            await route(router, TOPIC, json.dumps(PUSH).encode())


def test_a_deleted_branch_is_told_as_such() -> None:
    assert text_of({**PUSH, "SHA": "0" * 40}) == "ann deleted `main` of acme/app"


@pytest.mark.parametrize("message", [None, [], {}, {**PUSH, "Who": None}, {**PUSH, "SHA": 5}])
def test_what_is_no_summary_is_an_error_in_a_sentence(message: Any) -> None:
    with pytest.raises(ValueError, match="not the summary of a push"):
        text_of(message)


def test_nobody_can_call_for_everybodys_attention_with_the_name_of_a_branch() -> None:
    assert "@channel" not in text_of({**PUSH, "Branch": "`@channel"})


def test_what_is_no_address_is_told_when_the_hub_starts() -> None:
    with pytest.raises(ConfigError, match="incoming webhook"):
        MattermostRouter(Secret("chat.example.org"))


async def test_it_runs_in_a_hub(mattermost: Mattermost) -> None:
    async with open_test_hub(MattermostRouter(mattermost.secret)) as hub:
        mattermost.answers = [(400, {})] * 4
        await hub.publish(TOPIC, json.dumps(PUSH).encode())
        [failed] = await hub.wait_for("hookbot/failed/mattermost")
    assert failed.header("Hookbot-Failed-Error") == "RuntimeError: Mattermost rejected the post: status 400"
