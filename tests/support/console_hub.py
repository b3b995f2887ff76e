"""A hub in a process of its own, for tests that block: those which drive a browser."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect

from hookbot.access.tokens import make_token
from hookbot.protocol.subscribe import UNSAFE_HEADER_VALUE
from hookbot.testing import signed_delivery
from support import GUARD_S, KEY, SECRET
from support.ports import free_ports

CONFIG = f"""
router = ["github"]

[[sources]]
topic = "/unsafe/github"
provider = "github"
secrets = ["{SECRET}"]

[[sources]]
topic = "/unsafe/stripe/"
provider = "stripe"
secrets = ["{SECRET}"]
"""
"""Two sources and a router."""


class ConsoleHub:
    """A hub that runs, and those who publish to it and listen."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._http = httpx.Client(base_url=self.url, timeout=GUARD_S)

    def close(self) -> None:
        self._http.close()

    def token(self, path: str) -> str:
        return make_token(KEY, path)

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        return self._http.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})

    def publish(self, topic: str, body: bytes = b"{}", headers: Iterable[tuple[str, str]] = (), query: str = "") -> str:
        """Publish a message with a token, and return its id."""
        path = f"/pub/{topic}"
        authorization = ("Authorization", f"Bearer {self.token(path)}")
        answer = self._http.post(f"{path}{query}", content=body, headers=[authorization, *headers])
        return answer.raise_for_status().headers["hookbot-message-id"]

    def deliver(
        self,
        provider: str,
        topic: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        secret: str = SECRET,
    ) -> httpx.Response:
        """Post a signed delivery to an unsafe topic, as its sender does."""
        signed = signed_delivery(provider, secret, body, headers or {})
        return self._http.post(f"/unsafe/pub/{topic}", content=signed.body, headers=list(signed.headers))

    @contextmanager
    def listening(self, path: str) -> Iterator[ClientConnection]:
        """A websocket of the subprotocol that acknowledges, which has read its hello."""
        headers = {
            "Authorization": f"Bearer {self.token(path.partition('?')[0])}",
            "X-Hookbot-Unsafe-Is-Ok": UNSAFE_HEADER_VALUE,
        }
        url = f"ws://127.0.0.1:{self.port}{path}"
        with connect(url, subprotocols=["hookbot.v1"], additional_headers=headers, proxy=None) as socket:  # type: ignore[list-item]
            received(socket)
            yield socket


def received(socket: ClientConnection) -> dict[str, Any]:
    """The next frame of a subscription."""
    frame: dict[str, Any] = json.loads(socket.recv(timeout=GUARD_S))
    return frame


@contextmanager
def running_console_hub(directory: Path, *options: str, config: str = CONFIG) -> Iterator[ConsoleHub]:
    """``hookbot serve`` with a data directory and a configuration of its own, until the block ends."""
    [port] = free_ports(1)
    (directory / "hookbot.toml").write_text(config)
    words = ["serve", "--config", f"{directory}/hookbot.toml", "--data-dir", f"{directory}/data", "--grace", "1s"]
    command = [sys.executable, "-m", "hookbot", *words, "--bind", f"127.0.0.1:{port}", *options]
    with (
        open(directory / "hub.log", "wb") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env={**os.environ, "HOOKBOT_KEY": KEY}
        ) as process,
    ):
        try:
            assert process.stdout
            assert process.stdout.readline(), (directory / "hub.log").read_text()
            hub = ConsoleHub(port)
            try:
                yield hub
            finally:
                hub.close()
        finally:
            process.terminate()
