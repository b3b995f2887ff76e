"""A hub whose standard output and standard error nobody reads: it answers, and it ends."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from hookbot.access.tokens import make_token
from support import GUARD_S, KEY

pytestmark = pytest.mark.slow

# Prints more than all pipes and queues hold, for each message.
NOISY = """
import logging, sys

class Noisy:
    name = "noisy"
    topics = ("in",)

    async def route(self, message, publish):
        for stream in (sys.stdout, sys.stderr):
            for _ in range(20_000):
                print("x" * 99, file=stream, flush=True)
        for number in range(1000):
            logging.getLogger("noisy").warning(f"template {number} %s", number)
        await publish("out", message)
"""


@contextmanager
def unread(directory: Path, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A hub with a noisy router, and its URL: only its first line is read."""
    (directory / "noisy.py").write_text(NOISY)
    words = ["serve", "--bind", "127.0.0.1:0", "--data-dir", str(directory), "--router", str(directory / "noisy.py")]
    process = subprocess.Popen(
        [sys.executable, "-m", "hookbot", *words, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "HOOKBOT_KEY": KEY},
    )
    assert process.stdout
    with process:
        try:
            yield process, process.stdout.readline().decode().split()[-1]
        finally:
            process.kill()


@pytest.mark.parametrize("options", [(), ("--no-door",)])
def test_a_hub_whose_output_nobody_reads_answers_and_ends(tmp_path: Path, options: tuple[str, ...]) -> None:
    with unread(tmp_path, *options) as (process, url), httpx.Client(base_url=url, timeout=GUARD_S) as http:
        http.auth = (make_token(KEY, "/pub/in"), "")
        assert http.post("/pub/in", content=b"1").is_success
        read = http.get("/sub/out?since=all&limit=1", auth=(make_token(KEY, "/sub/out"), ""))
        assert http.post("/pub/in", content=b"2").is_success
        process.send_signal(signal.SIGTERM)

        assert read.content
        assert process.wait(GUARD_S) == 0
