"""A hub in a process of its own, for tests that block: those which drive a browser."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from hookbot.access.tokens import make_token
from hookbot.protocol.subscribe import UNSAFE_HEADER_VALUE
from hookbot.testing import signed_delivery
from support import GUARD_S, KEY, SECRET
from support.ports import free_ports

CONFIG = f"""
router = ["github"]
reply = ["cmd", "/unsafe/cmd"]

[[sources]]
topic = "/unsafe/github.com/"
provider = "github"
secrets = ["{SECRET}"]

[[sources]]
topic = "/unsafe/stripe/"
provider = "stripe"
secrets = ["{SECRET}"]

[quotas."team/"]
publishes = "2/h"
bytes = "10KB/h"
"""
"""Two sources, a router, a quota, and topics whose senders may wait for a reply."""
AT_ONCE = 100


class ConsoleHub:
    """A hub in a process of its own, and those who publish to it and listen."""

    def __init__(self, directory: Path, *options: str, config: str = CONFIG) -> None:
        self._directory = directory
        [self.port] = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        (directory / "hookbot.toml").write_text(config)
        words = ["serve", "--config", f"{directory}/hookbot.toml", "--data-dir", f"{directory}/data", "--grace", "1s"]
        self._command = [sys.executable, "-m", "hookbot", *words, "--bind", f"127.0.0.1:{self.port}", *options]

    def start(self) -> None:
        """Return when it listens, always at the same port."""
        self._http = httpx.Client(base_url=self.url, timeout=GUARD_S)
        environment = {**os.environ, "HOOKBOT_KEY": KEY}
        with open(self._directory / "hub.log", "ab") as log:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=log, env=environment)
        assert self._process.stdout
        assert self._process.stdout.readline(), (self._directory / "hub.log").read_text()

    def stop(self) -> None:
        """Return when it has ended."""
        self._http.close()
        with self._process:
            self._process.terminate()

    def token(self, path: str) -> str:
        return make_token(KEY, path)

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        return self._http.get(path, headers={"Authorization": f"Bearer {token}"} if token else {})

    def post(
        self, path: str, body: bytes = b"", headers: Iterable[tuple[str, str]] = (), token: str | None = None
    ) -> httpx.Response:
        authorization = [("Authorization", f"Bearer {token}")] if token else []
        latin = [(name.encode(), value.encode("latin-1")) for name, value in (*authorization, *headers)]
        return self._http.post(path, content=body, headers=latin)

    @staticmethod
    def id_of(answer: httpx.Response) -> str:
        """The id of the message that was stored."""
        return answer.raise_for_status().headers["hookbot-message-id"]

    def post_unsafe(self, topic: str, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> str:
        """Publish as somebody who proves nothing, and return the id."""
        return self.id_of(self.post(f"/unsafe/pub/{topic}", body, headers))

    def publish(self, topic: str, body: bytes = b"{}", headers: Iterable[tuple[str, str]] = (), query: str = "") -> str:
        """Publish a message with a token, and return its id."""
        path = f"/pub/{topic}"
        return self.id_of(self.post(f"{path}{query}", body, headers, self.token(path)))

    def publish_many(self, topic: str, count: int) -> None:
        """Publish as many small messages, so many at once that they are stored together, however slow the disk is."""
        request = f"POST /pub/{topic} HTTP/1.1\r\nHost: hub\r\nAuthorization: Bearer {self.token(f'/pub/{topic}')}\r\n"
        request += "Content-Length: 2\r\n\r\n{}"
        with ExitStack() as opened:
            address = "127.0.0.1", self.port
            connections = [opened.enter_context(socket.create_connection(address)) for _ in range(min(AT_ONCE, count))]
            answers = [opened.enter_context(connection.makefile("rb")) for connection in connections]
            for done in range(0, count, AT_ONCE):
                several = min(AT_ONCE, count - done)
                for connection in connections[:several]:
                    connection.sendall(request.encode())
                assert [_status(answer) for answer in answers[:several]] == [b"200"] * several

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
        return self.post(f"/unsafe/pub/{topic}", signed.body, signed.headers)

    @contextmanager
    def listening(self, path: str) -> Iterator[ClientConnection]:
        """A websocket of the subprotocol that acknowledges, which has read its hello."""
        headers = {
            "Authorization": f"Bearer {self.token(path.partition('?')[0])}",
            "X-Hookbot-Unsafe-Is-Ok": UNSAFE_HEADER_VALUE,
        }
        url = f"ws://127.0.0.1:{self.port}{path}"
        v1 = [Subprotocol("hookbot.v1")]
        # Who reads nothing for a while would miss the answer to a ping of its own.
        with connect(url, subprotocols=v1, additional_headers=headers, proxy=None, ping_interval=None) as socket:
            received(socket)
            yield socket


def _status(answers: BinaryIO) -> bytes:
    """The status of the next answer of a connection."""
    status = answers.readline().split()[1]
    length = 0
    while (line := answers.readline()) != b"\r\n":
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    answers.read(length)
    return status


def received(socket: ClientConnection) -> dict[str, Any]:
    """The next frame of a subscription."""
    frame: dict[str, Any] = json.loads(socket.recv(timeout=GUARD_S))
    return frame


@contextmanager
def running_console_hub(directory: Path, *options: str, config: str = CONFIG) -> Iterator[ConsoleHub]:
    """``hookbot serve`` with a data directory and a configuration of its own, until the block ends."""
    hub = ConsoleHub(directory, *options, config=config)
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()
