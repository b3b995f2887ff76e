"""A hub with routers that never end: it ends within its time of grace."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from hookbot.access.tokens import make_token
from support import GUARD_S, KEY

pytestmark = pytest.mark.slow

ROUTER = """
import subprocess, sys, threading, time
import trio

def forever():
    threading.Event().wait()

async def in_a_thread():
    await trio.to_thread.run_sync(forever)

async def in_a_shield():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

async def in_a_subprocess():
    with trio.CancelScope(shield=True):
        await trio.run_process([sys.executable, "-c", "import time; time.sleep(20)"])

async def in_a_thread_of_its_own():
    threading.Thread(target=forever, name="endless").start()
    await trio.sleep_forever()

async def on_the_loop():
    while True:
        pass

async def at_its_end():
    pass

class Endless:
    name = "endless"
    topics = ("in",)

    async def __aenter__(self):
        pass

    async def __aexit__(self, *failure):
        if WAY == "at_its_end":
            await in_a_shield()

    async def route(self, message, publish):
        print("routing", flush=True)
        await globals()[WAY]()
"""
GRACE_S = 1


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(process.stderr.read() if process.stderr else "")


@pytest.mark.parametrize(
    ("way", "code"),
    [
        ("in_a_thread", 0),
        ("in_a_shield", 0),
        ("in_a_subprocess", 0),
        ("in_a_thread_of_its_own", 0),
        ("on_the_loop", 1),
        ("at_its_end", 0),
    ],
)
def test_a_hub_ends_whatever_its_routers_do(tmp_path: Path, way: str, code: int) -> None:
    router = tmp_path / "endless.py"
    router.write_text(f"WAY = {way!r}\n{ROUTER}")
    words = ["--bind", "127.0.0.1:0", "--data-dir", tmp_path, "--router", router, "--grace", f"{GRACE_S}s"]
    with subprocess.Popen(
        [sys.executable, "-m", "hookbot", "serve", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOOKBOT_KEY": KEY},
    ) as process:
        url = wait_for(process, "listens on").split()[-1]
        httpx.post(f"{url}/pub/in", auth=(make_token(KEY, "/pub/in"), ""), content=b"x").raise_for_status()
        wait_for(process, "routing")

        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=GUARD_S)

    assert process.returncode == code, said
    assert "the process ends, although not all of its tasks and threads do" in said
