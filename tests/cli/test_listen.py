"""``hookbot listen`` and ``hookbot latest``."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from hookbot.protocol.envelope import from_envelope
from hookbot.testing import open_test_hub
from hookbot.testing.hub import TestHub
from support.commands import Caller, on_terminal, running, starting
from support.hubs import ThreadHub
from support.scripted_hub import Peer, mid, scripted_hub


@asynccontextmanager
async def hub_with(*bodies: bytes) -> AsyncIterator[TestHub]:
    with trio.fail_after(50):
        async with open_test_hub() as hub:
            for body in bodies:
                await hub.publish("a", body)
            yield hub


HISTORY = ("listen", "--raw", "--since", "all")

# -- listen


def test_history_ends_after_a_limit_or_where_it_is(thread: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    thread.publish(topic, b"1", b"2", b"3")
    assert call(*HISTORY, "--limit", "2", sub)[:2] == (0, b"12")
    assert call(*HISTORY, "--no-follow", sub) == (0, b"123", "")


def test_bodies_are_printed_byte_for_byte(thread: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    body = bytes(range(256)) * 1000 + b"\n"
    thread.publish(topic, body, b"")
    assert call(*HISTORY, "--no-follow", sub)[1] == body


def test_envelopes_are_printed_one_a_line(thread: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    bodies = [b"\xff", "\u2028\n".encode()]
    thread.publish(topic, *bodies)
    _, out, _ = call("listen", "--json", "--since", "all", "--no-follow", sub)
    assert [from_envelope(json.loads(line)).body for line in out.splitlines()] == bodies


def test_only_what_the_expression_holds_for_is_printed_and_counted(
    thread: ThreadHub, topic: str, sub: str, call: Caller
) -> None:
    thread.publish(topic, b'{"n":1}', b"no json", b'{"n":2}', b'{"n":3}')
    assert call(*HISTORY, "-n", "1", "--where", "body.n > `1`", sub)[:2] == (0, b'{"n":2}')


def test_a_cursor_goes_on_after_what_was_printed(thread: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    thread.publish(topic, b"1", b"2", b"3")
    assert call(*HISTORY, "--cursor", "c", "--limit", "1", sub)[1] == b"1"
    assert call(*HISTORY, "--cursor", "c", "--no-follow", sub)[1] == b"23"


def test_a_member_of_a_group_has_only_what_it_prints(thread: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    thread.publish(topic, b"1", b"2")
    for body in (b"1", b"2"):
        assert call(*HISTORY, "--group", "g", "--limit", "1", sub)[1] == body


@pytest.mark.slow
async def test_what_is_published_is_printed_as_it_comes() -> None:
    async with hub_with() as hub, running("listen", hub.url_for("/sub/a/")) as listener:
        await listener.until("listening to")
        await hub.publish("a/b", b'{"x":1}', {"X-GitHub-Event": "push", "X-Other": "y"})
        await listener.until("}\n", "out")
        assert b"  a/b  push  7 B  " in listener.out
        assert b'\n    {\n      "x": 1\n    }\n' in listener.out
        assert b"\x1b" not in listener.out
        assert await listener.interrupted() == 130


def test_a_gap_is_told_beside_what_is_printed(call: Caller) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello(9)
        await peer.send("gap", reason="retention", after=None, before=mid(7))
        await peer.messages(7, body=b"7")
        await peer.stay()

    with ThreadHub(scripted_hub(script)) as scripted:
        code, out, err = call("listen", "--raw", "--limit", "1", scripted.hub.url)

    assert (code, out) == (0, b"7")
    assert f"messages before {mid(7)} are missing (retention)" in err


@pytest.mark.slow
async def test_a_reader_who_leaves_is_no_error() -> None:
    async with hub_with(*[b"x" * 100_000] * 30) as hub:
        command = [sys.executable, "-m", "hookbot", *HISTORY, hub.url_for("/sub/a")]
        read, write = os.pipe()
        process = await trio.lowlevel.open_process(command, stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        await trio.to_thread.run_sync(os.read, read, 1000)
        os.close(read)
        assert await process.wait() == 0
        assert process.stderr is not None
        complaints = (await process.stderr.receive_some()).decode()
    assert "Traceback" not in complaints
    assert "BrokenPipe" not in complaints


@pytest.mark.slow
async def test_a_disconnection_is_told_with_its_reason_and_what_follows() -> None:
    with trio.fail_after(50):
        async with starting() as start:
            async with open_test_hub() as hub:
                listener = await start("listen", hub.url_for("/sub/a"))
                await listener.until("listening to")
            await listener.until("trying again in")
            assert b"the hub is shutting down" in listener.err
            await listener.until("Connection refused; trying again")
            assert await listener.interrupted() == 130


@pytest.mark.parametrize(
    ("words", "env", "shown"),
    [
        (["listen"], {}, b"\x1b[34m"),
        (["listen"], {"NO_COLOR": "1"}, b"\r\n    {\r\n"),
        (["listen", "--raw"], {}, b'{"x":1}\r\n2\r\n'),
    ],
)
def test_a_terminal_gets_colours_and_a_line_for_each_raw_body(
    thread: ThreadHub,
    topic: str,
    sub: str,
    call: Caller,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    env: dict[str, str],
    shown: bytes,
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    thread.publish(topic, b'{"x":1}', b"2\n")

    with on_terminal(monkeypatch, "stdout") as terminal:
        assert call(*words, "--since", "all", "--no-follow", sub, **env)[0] == 0

    assert shown in terminal
    assert (b"\x1b" in terminal) is (shown == b"\x1b[34m")


def test_a_raw_body_does_nothing_to_the_terminal_and_is_passed_on_as_it_is(
    thread: ThreadHub, topic: str, sub: str, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    thread.publish(topic, b"\x1b]0;x\x07\xff")
    words = ("listen", "--raw", "--since", "all", "--no-follow", sub)

    with on_terminal(monkeypatch, "stdout") as terminal:
        assert call(*words)[0] == 0

    assert terminal == rb"\x1b]0;x\x07\xff" + b"\r\n"
    assert call(*words)[1] == b"\x1b]0;x\x07\xff"


# -- refused


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["listen", "{hub}/sub/a"], 3, "401 Unauthorized"),
        (["listen", "{hub}/pub/a"], 3, "is for publishing"),
        (["listen", "{hub}/unsafe/sub/a"], 3, "add --unsafe"),
        (["listen", "ftp://nonsense"], 3, "a URL must begin with"),
        (["listen", "--since", "soon", "{a}"], 3, "since must be an id"),
        (["listen", "--cursor", "a", "--group", "b", "{a}"], 3, "not both"),
        (["listen", "--where", "body.(", "{a}"], 2, "not a JMESPath expression"),
        (["listen", "--where", "bdy.x", "{a}"], 2, "a message has no 'bdy'"),
        (["listen"], 2, "Missing argument 'URL'"),
        (["listen", "--token-file", "/dev/null", "{hub}/sub/a"], 2, "/dev/null"),
        (["latest", "--cursor", "c", "{a}"], 2, "No such option"),
        (["latest", "{a}"], 1, "the log has no such message"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_with_an_exit_code(
    thread: ThreadHub, call: Caller, words: list[str], code: int, said: str
) -> None:
    url = thread.url_for("/sub/a")
    ended, out, err = call(*(word.format(hub=thread.url, a=url) for word in words))
    assert (ended, out) == (code, b"")
    assert said in err


# -- latest


@pytest.mark.slow
def test_the_latest_message_is_printed_and_nothing_else(thread: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    thread.publish(topic, b"1", b"2", b"3")
    assert call("latest", "--raw", sub) == (0, b"3", "")
    assert call("latest", "--raw", "--limit", "2", sub) == (0, b"32", "")
    assert call("latest", "--raw", "--where", "body == `2`", sub) == (0, b"2", "")
    assert call("latest", "--raw", f"{sub}?since=2099-01-01T00:00:00Z")[0] == 1
    assert call("latest", "--raw", f"{sub}?since=1h") == (0, b"3", "")
