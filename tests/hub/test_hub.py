"""A whole hub, in a process of its own (under attack, out of files, in a storm, at its end) and in this one."""

import gc
import logging
import os
import random
import resource
import select
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from websockets.sync.client import ClientConnection, connect

from hookbot.access.tokens import make_token
from hookbot.errors import ConfigError
from hookbot.hub.config import Config
from hookbot.hub.hub import RELOAD, run_hub
from hookbot.hub.shutdown_limit import ShutdownLimit
from support import GUARD_S, KEY
from support.clients import basic, handshake, post
from support.clock import START_US, Clock
from support.hubs import configured, open_whole_hub

SECOND = 100  # of a process's time, as /proc counts it
MIB = 1 << 20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


class Hub:
    """A running `hookbot serve`."""

    def __init__(self, process: subprocess.Popen[Any], port: int) -> None:
        self.process = process
        self.port = port

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=GUARD_S)

    def ask(self, sent: bytes) -> bytes:
        """The whole answer, of a connection that is used once."""
        with self.connect() as sock:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            return everything(sock)

    def listen(self, path: str = "/sub/topic", **options: Any) -> ClientConnection:
        headers = {"Authorization": f"Basic {basic(path)}"}
        url = f"ws://127.0.0.1:{self.port}{path}"
        connection: ClientConnection = connect(url, additional_headers=headers, proxy=None, **options)
        return connection

    def publish(self, body: bytes = b"hello", topic: str = "topic") -> None:
        answer = self.ask(post(f"/pub/{topic}", body))
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer

    def memory(self, kind: str = "VmRSS") -> int:
        """Memory in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith(kind))

    def time_used(self) -> int:
        """CPU time in hundredths of a second."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def rests(self) -> None:
        """Wait until the hub uses nearly no CPU time for a while."""
        used = -inf
        while self.time_used() - used > SECOND / 4:
            used = self.time_used()
            time.sleep(0.5)

    def stop(self) -> str:
        """Stop the hub, and return its standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=GUARD_S)
        return str(said)


def everything(sock: socket.socket) -> bytes:
    received = b""
    while data := sock.recv(65536):
        received += data
    return received


@contextmanager
def running(tmp_path: Path, *options: Any, files: int | None = None) -> Iterator[Hub]:
    """A hub on a port of its own; its log is in memory."""

    def limit() -> None:
        if files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    command = [sys.executable, "-m", "hookbot", "serve", "-b", "127.0.0.1:0", "--data-dir", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--store", "memory:", *options],
        env={"HOOKBOT_KEY": KEY, "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit,  # noqa: PLW1509 - it only calls setrlimit
    )
    with process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            hub = Hub(process, int(line.strip().rpartition(":")[2]))
            # Answered by the app: importing it uses time, memory and files, too.
            assert hub.ask(b"GET /status HTTP/1.1\r\nHost: hub\r\n\r\n").startswith(b"HTTP/1.1 200")
            yield hub
        finally:
            process.kill()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with running(tmp_path) as hub:
        yield hub


# --- the whole


@pytest.mark.slow
def test_the_fast_path_and_the_app_take_turns_on_one_connection(hub: Hub) -> None:
    status = b"GET /status HTTP/1.1\r\nHost: hub\r\n\r\n"
    with hub.connect() as sock, sock.makefile("rb") as reader:
        sock.sendall(post(body=b"one") + status + post(body=b"two") + status)
        bodies = []
        for _ in range(4):
            assert reader.readline().split()[1] == b"200"
            headers = dict(line.rstrip().lower().split(b": ") for line in iter(reader.readline, b"\r\n"))
            bodies.append(reader.read(int(headers[b"content-length"])))

    assert bodies == [b"OK\n"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("subprotocol", [None, "hookbot.v1", "cloudevents.json"])
def test_the_websockets_client_hears_what_is_published(hub: Hub, subprotocol: str | None) -> None:
    with hub.listen(subprotocols=[subprotocol] if subprotocol else None) as listener:
        assert listener.subprotocol == subprotocol
        if subprotocol == "hookbot.v1":
            assert '"type":"hello"' in listener.recv(timeout=GUARD_S)
        hub.publish(b"\0\xff")
        told = listener.recv(timeout=GUARD_S)
        listener.ping().wait(GUARD_S)

    assert told == b"\0\xff" if subprotocol is None else "AP8=" in told


@pytest.mark.slow
def test_history_comes_before_what_is_new(hub: Hub) -> None:
    for n in range(3):
        hub.publish(b"%d" % n)
    with hub.listen("/sub/topic?since=all") as listener:
        hub.publish(b"3")
        assert [listener.recv(timeout=GUARD_S) for _ in range(4)] == [b"0", b"1", b"2", b"3"]


# --- its end


@pytest.mark.slow
def test_a_hub_that_is_told_to_stop_closes_and_answers_what_was_sent_whole(tmp_path: Path) -> None:
    with (
        running(tmp_path, "--grace", "5s") as hub,
        hub.listen() as listener,
        hub.connect() as idle,
        hub.connect() as busy,
    ):
        busy.sendall(post("/pub/topic", None, "Content-Length: 4", "Expect: 100-continue"))
        assert busy.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        hub.process.send_signal(signal.SIGTERM)
        assert everything(idle) == b""
        busy.sendall(b"last")
        assert everything(busy).startswith(b"HTTP/1.1 200 OK\r\n")
        busy.close()
        assert list(listener) == []

        assert listener.protocol.close_code == 1001
        assert hub.process.wait(GUARD_S) == 0


@pytest.mark.slow
def test_a_hub_with_subscribers_that_never_read_stops_within_the_grace(tmp_path: Path) -> None:
    with running(tmp_path, "--grace", "4s") as hub:
        stalled = []
        for _ in range(20):
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.connect(("127.0.0.1", hub.port))
            sock.sendall(handshake())
            assert sock.recv(12) == b"HTTP/1.1 101"
            stalled.append(sock)
        for _ in range(10):
            hub.publish(bytes(MIB))

        assert "Traceback" not in hub.stop()

        assert hub.process.returncode == 0
        for sock in stalled:
            sock.close()


# --- what untrusted clients do


@pytest.mark.slow
def test_a_large_body_is_held_once_while_it_arrives(hub: Hub) -> None:
    hub.publish()
    before = hub.memory()
    size = 24 * MIB
    with hub.connect() as sock:
        sock.sendall(post(body=bytes(size))[:-1])
        hub.rests()
        held = hub.memory("VmHWM") - before
        sock.sendall(b"\0")
        assert sock.recv(12) == b"HTTP/1.1 200"

    assert size / 2 < held < 1.5 * size


@pytest.mark.slow
def test_out_of_files_waits_and_costs_nothing(tmp_path: Path) -> None:
    with running(tmp_path, files=60) as hub:
        crowd = [hub.connect() for _ in range(100)]
        for sock in crowd:
            sock.sendall(post())
        hub.rests()
        while len(answered := select.select(crowd, [], [], GUARD_S)[0]) <= 20:
            pass
        assert len(answered) < 60

        for sock in answered:
            sock.close()

        for sock in crowd:
            if sock not in answered:
                assert sock.recv(12) == b"HTTP/1.1 200"
                sock.close()
        hub.publish()
        assert "too many open files" in hub.stop().lower()


@pytest.mark.slow
def test_a_storm_of_three_thousand_subscribers_is_absorbed(hub: Hub) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    storm = []
    for _ in range(3000):
        sock = socket.socket()
        sock.setblocking(False)
        with suppress(BlockingIOError):
            sock.connect(("127.0.0.1", hub.port))
        storm.append(sock)
    for sock in storm:
        sock.settimeout(GUARD_S)
        sock.sendall(handshake())
    for sock in storm:
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += sock.recv(4096)
        assert received.startswith(b"HTTP/1.1 101 ")
    hub.publish(b"for all")
    for sock in storm:
        assert sock.recv(100) == b"\x82\x07for all"
        sock.close()


PIECES = [
    b"POST ", b"GET ", b"PUT ", b"/", b"/pub/a", b"/unsafe/pub/a", b"/sub/a", b"/status", b"?token=x", b"%ff",
    b" HTTP/1.1", b" HTTP/1.0", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b"\xff", b" ", b":", b",", b";",
    b"Host: a\r\n", b"Content-Length: ", b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n", b"Connection: Upgrade\r\n", b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n",
    b"Expect: 100-continue\r\n", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"Sec-WebSocket-Version: 13\r\n",
    b"Authorization: Basic ", b"Accept: application/json\r\n", b"Origin: a\r\n", b"Idempotency-Key: k\r\n",
    b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"x" * 5000, b"99999999999999999999",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00", b"\x81\x85abcdefghi", b"\x88\x80abcd",
    b"\x89\x80abcd", b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xffabcd",
]  # fmt: skip


def garbage(rng: random.Random) -> bytes:
    """Something that an untrusted client might send: a good request that was changed, or pieces of some."""
    if rng.random() < 0.5:
        sent = bytearray(rng.choice([post("/unsafe/pub/a"), post(), handshake(), handshake() + b"\x82\x85abcdhello"]))
        for _ in range(rng.randrange(1, 6)):
            place = rng.randrange(len(sent))
            sent[place : place + rng.randrange(3)] = rng.choice([*PIECES, bytes([rng.randrange(256)]), b""])
        return bytes(sent)
    return b"".join(rng.choice(PIECES) for _ in range(rng.randrange(1, 30)))


def attack(hub: Hub, seed: int, until: float) -> None:
    rng = random.Random(seed)
    while time.monotonic() < until:
        with suppress(OSError), socket.create_connection(("127.0.0.1", hub.port), timeout=1) as sock:
            for _ in range(rng.randrange(1, 5)):
                sent = garbage(rng)
                cut = rng.randrange(len(sent) + 1)
                sock.sendall(sent[:cut])
                sock.sendall(sent[cut:])
            if rng.random() < 0.5:
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(0.05)
                everything(sock)


@pytest.mark.slow
def test_nothing_that_clients_send_ends_the_hub_spins_it_or_fills_it(hub: Hub) -> None:
    hub.publish()
    before = hub.memory()
    with hub.listen("/sub/apart") as listener:
        until = time.monotonic() + 4
        attackers = [threading.Thread(target=attack, args=(hub, seed, until)) for seed in range(8)]
        for attacker in attackers:
            attacker.start()
        for attacker in attackers:
            attacker.join()

        assert hub.process.poll() is None
        hub.rests()
        assert hub.memory() - before < 64 * MIB
        hub.publish(b"still there", "apart")
        assert listener.recv(timeout=GUARD_S) == b"still there"
    said = hub.stop()
    assert "Traceback" not in said
    assert " failed" not in said


# --- in this process


async def test_a_hub_publishes_on_the_fast_path_and_in_the_app(tmp_path: Path, ways: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, **ways) as hub:
        answer = await hub.post("/pub/x", b"hello", token=make_token(KEY, "/pub/x"))
        # An operator's path is handed over to the app.
        status = await hub.http.get("/status", headers={"Authorization": f"Bearer {make_token(KEY, '/')}"})

        assert (answer.status_code, status.status_code) == (200, 200)
        assert [message.body for message in await hub.stored()] == [b"hello"]
        assert hub.running.url == f"http://127.0.0.1:{hub.port}"


async def test_a_hub_with_a_certificate_speaks_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "hub.crt", tmp_path / "hub.key"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    context = ssl.create_default_context()
    authority.configure_trust(context)

    async with open_whole_hub(tmp_path, client={"verify": context}, tls_certificate=certificate, tls_key=key) as hub:
        assert hub.running.url.startswith("https://127.0.0.1:")
        assert (await hub.post("/unsafe/pub/x")).status_code == 200


async def test_a_log_on_disk_has_its_messages_after_a_restart(tmp_path: Path) -> None:
    async with open_whole_hub(tmp_path, store="sqlite:") as hub:
        await hub.post("/unsafe/pub/x", b"kept")

    async with open_whole_hub(tmp_path, store="sqlite:") as hub:
        assert [message.body for message in await hub.stored()] == [b"kept"]


async def test_a_hub_whose_routers_have_used_up_the_threads_of_trio_works_and_ends(tmp_path: Path) -> None:
    threads = trio.to_thread.current_default_thread_limiter()
    async with open_whole_hub(tmp_path, store="sqlite:") as hub:
        while threads.available_tokens:
            threads.acquire_on_behalf_of_nowait(object())
        await hub.post("/pub/x", bytes(MIB), token=make_token(KEY, "/pub/x"))
        [stored] = await hub.stored()
        path = f"/hookbot/v1/messages/{stored.id}"
        message = await hub.http.get(path, headers={"Authorization": f"Bearer {make_token(KEY, '/')}"})

    assert message.status_code == 200


async def test_a_store_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no store 'redis'"):
        async with open_whole_hub(tmp_path, store="redis:"):
            pass


async def test_an_address_that_another_process_uses_is_refused_before_the_log_is_opened(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"the hub cannot listen on '{address}'"):
            async with open_whole_hub(tmp_path, store="sqlite:", bind=(address,)):
                pass

    assert not (tmp_path / "hookbot.sqlite3").exists()


async def test_an_address_that_is_used_is_told_with_the_place_where_it_is_set(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        for places, place in (({}, "--bind"), ({"bind": "HOOKBOT_BIND"}, "HOOKBOT_BIND")):
            with pytest.raises(ConfigError, match=f"^{place}: the hub cannot listen on '{address}'"):
                async with open_whole_hub(tmp_path, bind=(address,), places=places):
                    pass


class Signals:
    """A hub in this process, and what it says after signals to the process."""

    def __init__(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.answers: list[Callable[[], Config]] = []
        self._config = configured(tmp_path, grace_s=GUARD_S)
        self._caplog = caplog
        self._started = trio.Event()
        self._limit = ShutdownLimit()

    async def run(self) -> None:
        try:
            await run_hub(self._config, lambda _: self._started.set(), self._answer, self._limit)
        finally:
            self._limit.stop()
            gc.unfreeze()

    def _answer(self) -> Config:
        return self.answers.pop(0)()

    async def reload(self, answer: Callable[[], Config], says: str) -> None:
        await self._started.wait()
        self.answers.append(answer)
        os.kill(os.getpid(), signal.SIGHUP)
        while says not in self._caplog.text:
            await trio.lowlevel.checkpoint()

    async def end(self) -> None:
        await self._started.wait()
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.fixture
def signals(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Signals:
    caplog.set_level(logging.INFO, "hookbot")
    return Signals(tmp_path, caplog)


def broken() -> Config:
    raise ConfigError("hookbot.toml:1: this is broken")


@pytest.mark.skipif(not RELOAD, reason="this system has no SIGHUP")
async def test_a_hub_reloads_at_sighup_survives_a_broken_configuration_and_ends_at_sigterm(
    tmp_path: Path, signals: Signals, caplog: pytest.LogCaptureFixture
) -> None:
    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(signals.run)
            await signals.reload(lambda: configured(tmp_path), "the configuration was reloaded")
            await signals.reload(
                broken, "reload failed, the hub keeps its configuration: hookbot.toml:1: this is broken"
            )
            await signals.end()
    assert caplog.messages[0] == "the hub has started"
    assert (caplog.messages[-1], caplog.records[-1].__dict__["why"]) == ("the hub has stopped", "SIGTERM")


@pytest.mark.skipif(not RELOAD, reason="this system has no SIGHUP")
async def test_a_hub_whose_configuration_cannot_be_read_to_its_end_ends_at_sigterm(
    tmp_path: Path, signals: Signals
) -> None:
    reading, gone_on = threading.Event(), threading.Event()

    def read() -> Config:
        reading.set()
        gone_on.wait(GUARD_S)
        return broken()

    with trio.fail_after(GUARD_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(signals.run)
            nursery.start_soon(signals.reload, read, "")
            await trio.to_thread.run_sync(reading.wait)
            await signals.end()
    gone_on.set()


async def test_a_hub_says_that_its_clock_has_jumped_and_does_not_follow(tmp_path: Path, ways: dict[str, Any]) -> None:
    wall, passed = Clock(), Clock()
    token = make_token(KEY, "/")
    async with open_whole_hub(tmp_path, clock=wall, elapsed=passed, **ways) as hub:
        for clock, seconds in ((wall, 0), (passed, 4)):
            clock.skip(seconds=seconds)
            wall.now_us = passed.now_us + 30 * 86_400 * 1_000_000
            await hub.post("/pub/x", token=token)
        ready = await hub.http.get("/readyz")
        metrics = await hub.http.get("/metrics", headers={"Authorization": f"Bearer {token}"})
        wall.now_us = passed.now_us
        ready_again = await hub.http.get("/readyz")
        times_us = [message.time_us for message in await hub.stored()]

    assert ready.status_code == 503
    assert "the clock of this machine jumped by +2592000 seconds" in ready.text
    assert "hookbot_clock_jump_seconds 2.592e+06" in metrics.text
    assert ready_again.status_code == 200
    assert times_us == [START_US, START_US + 4_000_000]


async def test_a_publish_that_just_misses_a_source_or_a_router_is_told_of_both_ways(
    tmp_path: Path, ways: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    text = (
        '[[sources]]\ntopic = "/unsafe/stripe/"\nprovider = "stripe"\nsecrets = ["whsec_x"]\n'
        '[routers.deploys]\nrouter = "filter"\nreads = ["deploys/"]\ntopic = "wanted"\n'
    )
    async with open_whole_hub(
        tmp_path, text, routers=("deploys",), unsafe_prefixes=("stripe/", "Stripe"), **ways
    ) as hub:
        for path, status in (("/unsafe/pub/Stripe", 200), ("/unsafe/pub/stripe", 404), ("/unsafe/pub/other", 404)):
            for _ in range(2):
                assert (await hub.post(path)).status_code == status
        assert (await hub.post("/pub/deploy/x", token=make_token(KEY, "/"))).status_code == 200
    told = [record.__dict__["topic"] for record in caplog.records if record.getMessage().endswith("meant?")]
    assert told == ["/unsafe/Stripe", "/unsafe/stripe", "deploy/x"]
