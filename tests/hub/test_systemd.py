"""What systemd and the hub tell each other; the real one is in tests/docs/test_systemd.py."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic_ns
from typing import Any

import pytest
import trio

from hookbot.hub.systemd import READY, ServiceManager, inherited_sockets, status
from support import GUARD_S, KEY
from support.clients import post

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="systemd is a program of Linux")

# A process of which systemd would know the id before it runs: `LISTEN_PID` is that of the hub.
EXEC = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
BLOCKING = """
import os, time
class Blocking:
    name = "blocking"
    topics = ("a",)
    async def route(self, message, publish):
        os.write(1, b"blocked\\n")
        time.sleep(1000)
"""


class Manager:
    """A service manager, as far as it is told of states."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.bind(address.replace("@", "\0", 1))
        self._sock.settimeout(GUARD_S)

    def told(self) -> list[str]:
        return self._sock.recv(4096).decode().split("\n")

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(f"{tmp_path}/notify")
    yield manager
    manager.close()


@contextmanager
def hub(
    manager: Manager, directory: Path, *options: str, sock: socket.socket | None = None, **env: str
) -> Iterator[Any]:
    """A hub as systemd starts it, with its socket as descriptor 3."""
    command = [sys.executable, "-c", EXEC, "-m", "hookbot", "serve", "--data-dir", str(directory), *options]
    env = {"HOOKBOT_KEY": KEY, "NOTIFY_SOCKET": manager.address, "PATH": os.environ["PATH"], **env}
    if sock:
        env |= {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "hookbot.socket"}
    with subprocess.Popen(
        command,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: os.dup2(sock.fileno(), 3) if sock else None,  # noqa: PLW1509 - it only calls dup2
        close_fds=not sock,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_hub_tells_when_it_is_ready_reloads_and_stops(manager: Manager, tmp_path: Path) -> None:
    config = tmp_path / "hookbot.toml"
    config.write_text('keep = "1d"')
    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        hub(manager, tmp_path, "--config", str(config), sock=sock) as process,
    ):
        at = f"http://127.0.0.1:{sock.getsockname()[1]}"

        assert manager.told() == ["READY=1", f"STATUS=listening on {at}"]
        process.send_signal(signal.SIGHUP)
        begun, at_us = manager.told()
        assert begun == "RELOADING=1"
        assert 0 < int(re.fullmatch(r"MONOTONIC_USEC=(\d+)", at_us)[1]) * 1000 <= monotonic_ns()  # type: ignore[index]
        assert manager.told() == ["READY=1", f"STATUS=listening on {at}"]

        config.write_text("keep = 5\nkep = 6")
        process.send_signal(signal.SIGHUP)
        assert manager.told()[0] == "RELOADING=1"
        ready, state = manager.told()
        assert ready == "READY=1"
        assert state.startswith("STATUS=reload failed, the hub keeps its configuration: ")
        assert "; " in state

        process.send_signal(signal.SIGTERM)
        assert manager.told() == ["STOPPING=1", "STATUS=finishing what was accepted"]
        assert process.wait() == 0


def test_a_blocked_event_loop_does_not_feed_the_watchdog_and_says_where_it_is_when_aborted(
    manager: Manager, tmp_path: Path
) -> None:
    (tmp_path / "blocking.py").write_text(BLOCKING)
    options = ("--store", "memory:", "--router", f"{tmp_path}/blocking.py")
    with (
        socket.create_server(("127.0.0.1", 0)) as sock,
        hub(manager, tmp_path, *options, sock=sock, WATCHDOG_USEC="20000") as process,
    ):
        told = [manager.told() for _ in range(9)]
        with socket.create_connection(sock.getsockname()) as client:
            client.sendall(post("/pub/a", b""))
            assert "blocked\n" in iter(process.stdout.readline, "")
        process.send_signal(signal.SIGABRT)
        _, said = process.communicate(timeout=GUARD_S)

    assert ["WATCHDOG=1"] in told
    assert process.returncode == -signal.SIGABRT
    assert "blocking.py" in said.partition("Fatal Python error: Aborted")[2]


async def test_what_the_manager_is_told_comes_at_an_abstract_address_too() -> None:
    manager = Manager(f"@hookbot-test-{os.getpid()}")
    environ = {"NOTIFY_SOCKET": manager.address, "PATH": "/bin"}

    await ServiceManager(environ).tell(READY, status("one\ntwo"))

    assert manager.told() == ["READY=1", "STATUS=one; two"]
    assert environ == {"PATH": "/bin"}
    manager.close()


async def test_a_process_without_a_manager_tells_nobody() -> None:
    manager = ServiceManager({})
    await manager.tell(READY)
    await manager.feed_watchdog()


async def test_a_manager_that_is_gone_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await ServiceManager({"NOTIFY_SOCKET": f"{tmp_path}/gone"}).tell(READY)

    assert "the service manager cannot be told READY=1: " in caplog.text
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize(
    ("variables", "watchdog_s"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 3),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, 0),
        ({"WATCHDOG_USEC": "often"}, 0),
        ({}, 0),
    ],
)
def test_a_watchdog_is_that_of_this_process(variables: dict[str, str], watchdog_s: float) -> None:
    assert ServiceManager(variables).watchdog_s == watchdog_s
    assert variables == {}


async def test_the_watchdog_is_fed_twice_in_its_time(manager: Manager, mock_clock: trio.testing.MockClock) -> None:
    mock_clock.autojump_threshold = 0
    fed = ServiceManager({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "30000000"})

    with trio.move_on_after(44):
        await fed.feed_watchdog()

    assert [manager.told() for _ in range(3)] == [["WATCHDOG=1"]] * 3


@pytest.mark.parametrize(
    "variables",
    [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"}],
)
def test_no_socket_is_taken_that_is_not_for_this_process(variables: dict[str, str]) -> None:
    assert inherited_sockets(variables) == []
    assert variables == {}


INHERIT = """
import os, socket, sys
own = socket.socketpair()
from hookbot.hub.systemd import inherited_sockets
os.environ["LISTEN_PID"] = str(os.getpid())
for one in inherited_sockets(os.environ):
    print(one.name, one.sock.fileno(), one.sock.get_inheritable(), one.sock.getsockname()[1])
print([name for name in os.environ if name.startswith("LISTEN")])
"""


def inherit(listen_fds: str, *files: int) -> "subprocess.CompletedProcess[str]":
    """A process to which these files are handed over, and which has opened others itself."""

    def hand_over() -> None:
        for descriptor, file in enumerate(files, start=3):
            os.dup2(file, descriptor)

    return subprocess.run(
        [sys.executable, "-c", INHERIT],
        env={"LISTEN_FDS": listen_fds, "LISTEN_FDNAMES": "http"},
        preexec_fn=hand_over,
        pass_fds=range(3, 3 + len(files)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_sockets_that_are_handed_over_have_names_and_are_not_handed_on() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]

        out = inherit("2", sock.fileno(), sock.fileno()).stdout

    assert out.splitlines() == [f"http 3 False {port}", f" 4 False {port}", "[]"]


@pytest.mark.parametrize("close", [True, False])
def test_what_is_handed_over_and_no_socket_is_refused(tmp_path: Path, close: bool) -> None:
    def hand_over() -> None:
        os.dup2(os.open("/dev/null", os.O_RDONLY), 3)
        if close:
            os.close(3)

    failed = subprocess.run(
        [sys.executable, "-c", EXEC, "-m", "hookbot", "serve", "--data-dir", str(tmp_path)],
        env={"HOOKBOT_KEY": KEY, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "odd"},
        preexec_fn=hand_over,
        close_fds=False,
        stderr=subprocess.PIPE,
        text=True,
        timeout=GUARD_S,
        check=False,
    )

    assert failed.returncode == 2
    assert "LISTEN_FDS hands over 1 sockets, but descriptor 3 is none" in failed.stderr


async def test_a_state_with_a_name_that_is_no_text_is_told(manager: Manager) -> None:
    await ServiceManager({"NOTIFY_SOCKET": manager.address}).tell(status("no file \udcff"))

    assert manager.told() == ["STATUS=no file \\udcff"]


def test_what_is_no_socket_or_was_not_handed_over_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock, Path(os.devnull).open("rb") as null:
        said = inherit("2", sock.fileno(), null.fileno()).stderr
        assert "LISTEN_FDS hands over 2 sockets, but descriptor 4 is none: Socket operation on non-socket" in said
        said = inherit("99999999999", sock.fileno()).stderr
        assert "LISTEN_FDS hands over 99999999999 sockets, but descriptor 4 is none: Bad file descriptor" in said
