"""README.md and the tutorial: every example works as shown."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()


def shell_blocks(text: str) -> list[str]:
    return re.findall(r"```sh\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.fixture
def shell(tmp_path: Path, port: int) -> Iterator[Callable[..., Any]]:
    """Runs a script in bash as a reader would type it; on another port, and with data of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HOOKBOT_")}
    environ |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOOKBOT_DATA_DIR": str(tmp_path),
        "TMPDIR": str(tmp_path),
    }
    started = []

    def run(script: str) -> str:
        process = subprocess.Popen(
            ["bash", "-m"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environ,
            start_new_session=True,
        )
        started.append(process)
        output, _ = process.communicate(script.replace("8080", str(port)), timeout=110)
        return output

    yield run
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_until_ready(port: int) -> str:
    return f"until curl -fs -o /dev/null http://127.0.0.1:{port}/readyz; do sleep 0.1; done\n"


def lines_shown(text: str) -> set[str]:
    """The lines of all output blocks, with a placeholder for what differs from run to run."""
    blocks = re.findall(r"```text\n(.*?)```", text, re.DOTALL)
    return {comparable(line) for block in blocks for line in block.splitlines()}


def comparable(line: str) -> str:
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "TIME", line)
    line = re.sub(r"[a-z]{8}-(\d{15})", r"EPOCH-\1", line)
    return re.sub(r"//[0-9a-f]{40}@", "//TOKEN@", line)


def test_the_tutorial_can_be_typed_from_its_first_line_to_its_last(shell: Callable[..., Any], port: int) -> None:
    output = shell("".join(shell_blocks(TUTORIAL)))

    printed = {comparable(line) for line in output.replace(str(port), "8080").splitlines()}
    assert lines_shown(TUTORIAL) - printed == set(), output


def test_what_is_published_as_readme_says_is_heard_as_it_says(shell: Callable[..., Any]) -> None:
    first, *_ = shell_blocks(README)

    output = shell(f"{first}\nkill %1\n")

    assert lines_shown(README) - {comparable(line) for line in output.splitlines()} == set(), output


def test_forward_and_exec_work_as_readme_shows_them(shell: Callable[..., Any], port: int, tmp_path: Path) -> None:
    received = []

    class Target(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: str) -> None:
            pass

    first, forward, run, _ = shell_blocks(README)
    with HTTPServer(("127.0.0.1", 0), Target) as target:
        Thread(target=target.serve_forever, daemon=True).start()
        forward = forward.replace("localhost:3000", f"127.0.0.1:{target.server_port}")
        serve, setup = first.split("\n", 1)
        setup = setup.replace("hookbot listen --since all --limit 1 ", ": ")
        limited = [line.replace("--cursor", "--since all --limit 1 --cursor") for line in (forward, run)]

        output = shell("".join([f"{serve}\n", wait_until_ready(port), setup, *limited, "kill %1\n"]))
        target.shutdown()

    assert received == [b"hello, world"], output
    assert "hello, world" in output
