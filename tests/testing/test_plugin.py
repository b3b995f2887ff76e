"""The fixtures for pytest."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from hookbot.protocol.message import Message
from hookbot.routers import Publish, Router
from hookbot.testing import Response, ThreadedHub, signed_delivery


class CopyRouter:
    name = "copy"
    topics: Sequence[str] = ("in/",)

    async def route(self, message: Message, publish: Publish) -> None:
        await publish(f"out/{message.topic}", message)


def accept(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def test_a_hub_is_there_and_runs_nothing(hookbot_hub: ThreadedHub, hookbot_routers: Sequence[Router]) -> None:
    assert httpx.get(f"{hookbot_hub.url}/readyz").status_code == 200
    assert hookbot_routers == ()


class TestOverridden:
    @pytest.fixture
    def hookbot_routers(self) -> Sequence[Router]:
        return [CopyRouter()]

    @pytest.fixture
    def hookbot_sources(self) -> Sequence[Mapping[str, Any]]:
        return [{"topic": "/unsafe/github", "provider": "github", "secrets": ["secret"]}]

    def test_it_runs_routers_and_verifies_sources(self, hookbot_hub: ThreadedHub) -> None:
        hookbot_hub.publish("in/a", b"1")
        delivery = signed_delivery("github", "secret")
        url = f"{hookbot_hub.url}/unsafe/pub/github"

        assert httpx.post(url, content=delivery.body, headers=list(delivery.headers)).status_code == 200
        assert httpx.post(url, content=b"{}").status_code == 401
        assert hookbot_hub.wait_for("out/in/a")[0].body == b"1"


def test_a_recording_is_found_beside_the_test(
    hookbot_play: Callable[..., list[Response]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (Path(__file__).parent / "three.jsonl").read_bytes()

    assert [response.status for response in hookbot_play("three.jsonl", accept)] == [204] * 3
    assert hookbot_play([signed_delivery("github", "secret")], accept)[0].status == 204


@pytest.mark.slow
def test_it_is_known_to_pytest_and_loads_nothing_heavy(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("""
import sys

def test_nothing_heavy_is_loaded():
    assert "hookbot.testing.plugin" in sys.modules
    assert {"trio", "httpx", "quart", "cryptography"} & {*sys.modules} == set()

def test_a_hub(hookbot_hub):
    hookbot_hub.publish("a", b"1")
    assert hookbot_hub.wait_for("a")[0].body == b"1"
""")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "hookbot", "-p", "no:cacheprovider"],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
