"""``hookbot listen``, ``latest`` and ``publish``."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from hookbot.cli import subscribe_options
from hookbot.protocol.envelope import from_envelope
from hookbot.testing import open_test_hub
from hookbot.testing.hub import TestHub
from support.commands import Caller, running, starting
from support.hubs import ThreadHub
from support.scripted_hub import Peer, mid, scripted_hub
from support.targets import target


@pytest.fixture(scope="module")
def hub() -> Iterator[ThreadHub]:
    hub = ThreadHub()
    yield hub
    hub.close()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[str]) -> Caller:
    return Caller(monkeypatch, capfdbinary)


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> str:
    """A topic for each test."""
    return request.node.name.replace("[", "-").replace("]", "")[:80]


@pytest.fixture
def sub(hub: ThreadHub, topic: str) -> str:
    return hub.url_for(f"/sub/{topic}")


@pytest.fixture
def pub(hub: ThreadHub, topic: str) -> str:
    return hub.url_for(f"/pub/{topic}")


@asynccontextmanager
async def hub_with(*bodies: bytes) -> AsyncIterator[TestHub]:
    with trio.fail_after(50):
        async with open_test_hub() as hub:
            for body in bodies:
                await hub.publish("a", body)
            yield hub


HISTORY = ("listen", "--raw", "--since", "all")

# -- listen


def test_history_ends_after_a_limit_or_where_it_is(hub: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    hub.publish(topic, b"1", b"2", b"3")
    assert call(*HISTORY, "--limit", "2", sub)[:2] == (0, b"12")
    assert call(*HISTORY, "--no-follow", sub) == (0, b"123", "")


def test_bodies_are_printed_byte_for_byte(hub: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    body = bytes(range(256)) * 1000 + b"\n"
    hub.publish(topic, body, b"")
    assert call(*HISTORY, "--no-follow", sub)[1] == body


def test_envelopes_are_printed_one_a_line(hub: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    bodies = [b"\xff", "\u2028\n".encode()]
    hub.publish(topic, *bodies)
    _, out, _ = call("listen", "--json", "--since", "all", "--no-follow", sub)
    assert [from_envelope(json.loads(line)).body for line in out.splitlines()] == bodies


def test_only_what_the_expression_holds_for_is_printed_and_counted(
    hub: ThreadHub, topic: str, sub: str, call: Caller
) -> None:
    hub.publish(topic, b'{"n":1}', b"no json", b'{"n":2}', b'{"n":3}')
    assert call(*HISTORY, "-n", "1", "--where", "body.n > `1`", sub)[:2] == (0, b'{"n":2}')


def test_where_an_expression_makes_no_sense_it_does_not_hold(
    hub: ThreadHub, topic: str, sub: str, call: Caller
) -> None:
    hub.publish(topic, b'{"n":"x"}', b'{"n":-1}')
    code, out, err = call(*HISTORY, "--no-follow", "--where", "abs(body.n) == `1`", sub)
    assert (code, out) == (0, b'{"n":-1}')
    assert "--where cannot be applied" in err


def test_a_cursor_goes_on_after_what_was_printed(hub: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    hub.publish(topic, b"1", b"2", b"3")
    assert call(*HISTORY, "--cursor", "c", "--limit", "1", sub)[1] == b"1"
    assert call(*HISTORY, "--cursor", "c", "--no-follow", sub)[1] == b"23"


def test_a_member_of_a_group_has_only_what_it_prints(hub: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    hub.publish(topic, b"1", b"2")
    for body in (b"1", b"2"):
        assert call(*HISTORY, "--group", "g", "--limit", "1", sub)[1] == body


def test_an_unsafe_topic_is_heard_by_those_who_say_so(hub: ThreadHub, topic: str, call: Caller) -> None:
    hub.publish(f"/unsafe/{topic}", b"1")
    assert call(*HISTORY, "--unsafe", "-n", "1", hub.url_for(f"/unsafe/sub/{topic}"))[:2] == (0, b"1")


async def test_what_is_published_is_printed_as_it_comes() -> None:
    async with hub_with() as hub, running("listen", hub.url_for("/sub/a/")) as listener:
        await listener.until("listening to")
        await hub.publish("a/b", b'{"x":1}', {"X-GitHub-Event": "push", "X-Other": "y"})
        await listener.until("}", "out")
        assert b"  a/b  push  7 B  " in listener.out
        assert b'\n    {\n      "x": 1\n    }\n' in listener.out
        assert b"\x1b" not in listener.out
        assert await listener.interrupted() == 130


async def test_a_gap_is_told_beside_what_is_printed() -> None:
    async def script(peer: Peer) -> None:
        await peer.hello(9)
        await peer.send("gap", reason="retention", after=None, before=mid(7))
        await peer.messages(7, body=b"7")
        await peer.stay()

    async with scripted_hub(script) as hub, running("listen", "--raw", "--limit", "1", hub.url) as listener:
        assert await listener.ended() == 0
    assert listener.out == b"7"
    assert f"messages before {mid(7)} are missing (retention)".encode() in listener.err


async def test_a_reader_who_leaves_is_no_error() -> None:
    async with hub_with(*[b"x" * 100_000] * 30) as hub:
        command = [sys.executable, "-m", "hookbot", *HISTORY, hub.url_for("/sub/a")]
        read, write = os.pipe()
        process = await trio.lowlevel.open_process(command, stdout=write, stderr=subprocess.PIPE)
        os.close(write)
        await trio.to_thread.run_sync(os.read, read, 1000)
        os.close(read)
        assert await process.wait() == 0
        complaints = (await process.stderr.receive_some()).decode()
    assert "Traceback" not in complaints
    assert "BrokenPipe" not in complaints


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


async def test_a_terminal_gets_colours_and_a_line_for_each_raw_body() -> None:
    async with hub_with(b'{"x":1}') as hub:
        shown = await on_terminal("listen", "--since", "all", "--no-follow", hub.url_for("/sub/a"))
        raw = await on_terminal(*HISTORY, "--no-follow", hub.url_for("/sub/a"))
        plain = await on_terminal("listen", "--since", "all", "--no-follow", hub.url_for("/sub/a"), NO_COLOR="1")
    assert b"\x1b[34m" in shown
    assert raw == b'{"x":1}\r\n'
    assert b"\x1b" not in plain


async def on_terminal(*words: str, **env: Any) -> bytes:
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "hookbot", *words]
    process = await trio.lowlevel.open_process(command, stdout=theirs, stderr=theirs, env=os.environ | env)
    os.close(theirs)
    printed = b""
    with open(ours, "rb", buffering=0) as terminal:
        while True:
            try:
                printed += await trio.to_thread.run_sync(terminal.read, 65536)
            except OSError:  # Linux tells the end of a terminal in this way
                break
    await process.wait()
    return printed


# -- who is let in


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["listen", "{hub}/sub/a"], 3, "401 Unauthorized"),
        (["listen", "{hub}/pub/a"], 3, "is for publishing"),
        (["listen", "{hub}/unsafe/sub/a"], 3, "add --unsafe"),
        (["listen", "nonsense"], 3, "a URL begins with"),
        (["listen", "--since", "soon", "{a}"], 3, "since must be an id"),
        (["listen", "--cursor", "a", "--group", "b", "{a}"], 3, "not both"),
        (["listen", "--where", "body.(", "{a}"], 2, "not a JMESPath expression"),
        (["listen", "--where", "bdy.x", "{a}"], 2, "a message has no 'bdy'"),
        (["listen"], 2, "Missing argument 'URL'"),
        (["listen", "--token-file", "/dev/null", "{hub}/sub/a"], 2, "/dev/null"),
        (["latest", "--cursor", "c", "{a}"], 2, "latest takes neither --cursor"),
        (["latest", "{a}"], 1, "there is no such message"),
        (["publish", "{hub}/pub/a", "/dev/null"], 3, "401 Unauthorized"),
        (["publish", "--header", "nonsense", "{hub}/pub/a", "/dev/null"], 2, "a header is 'Name: value'"),
        (["publish", "--header", "@/nonexistent", "{hub}/pub/a", "/dev/null"], 2, "cannot read the headers"),
        (["publish", "{hub}/pub/a", "/nonexistent"], 2, "No such file"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line_with_an_exit_code(
    hub: ThreadHub, call: Caller, words: list[str], code: int, said: str
) -> None:
    url = hub.url_for("/sub/a")
    ended, out, err = call(*(word.format(hub=hub.url, a=url) for word in words))
    assert (ended, out) == (code, b"")
    assert said in err


def test_a_hub_that_is_not_there_is_given_up_by_commands_that_end(
    call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribe_options, "PATIENCE_S", 0)
    code, _, err = call("latest", "http://127.0.0.1:1/sub/a")
    assert code == 4
    assert "hookbot: http://127.0.0.1:1/sub/a: cannot connect to 127.0.0.1:1: Connection refused" in err


def test_tokens_come_from_the_environment_or_a_file_and_are_never_shown(
    hub: ThreadHub, topic: str, sub: str, call: Caller, tmp_path: Path
) -> None:
    hub.publish(topic, b"1")
    token = sub.partition("//")[2].partition("@")[0]
    (tmp_path / "token").write_text(f"{token}\n")
    bare, options = f"{hub.url}/sub/{topic}", (*HISTORY, "--limit", "1")
    for words, env in (
        ([*options, bare], {"HOOKBOT_TOKEN": token}),
        ([*options, bare], {"HOOKBOT_TOKEN_FILE": str(tmp_path / "token")}),
        ([*options, "--token-file", tmp_path / "token", bare], {}),
        (options, {"HOOKBOT_URL": sub}),
        ([*options, sub], {"HOOKBOT_TOKEN": "wrong"}),
    ):
        code, out, err = call(*words, **env)
        assert (code, out) == (0, b"1"), err
        assert token[:8] not in err


def test_whoever_listens_needs_no_server() -> None:
    modules = [
        f"hookbot.cli.{name}" for name in ("listen", "publish", "forward", "exec", "replay", "doctor", "cursors")
    ]
    server = (
        "hookbot.hub.hub",
        "hookbot.web",
        "hookbot.broker",
        "hookbot.log.sqlite",
        "quart",
        "hypercorn",
        "cryptography",
    )
    code = f"import {', '.join(modules)}, sys; print([name for name in {server} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"


# -- latest


def test_the_latest_message_is_printed_and_nothing_else(hub: ThreadHub, topic: str, sub: str, call: Caller) -> None:
    hub.publish(topic, b"1", b"2", b"3")
    assert call("latest", "--raw", sub) == (0, b"3", "")
    assert call("latest", "--raw", "--limit", "2", sub) == (0, b"32", "")
    assert call("latest", "--raw", "--where", "body == `2`", sub) == (0, b"2", "")


# -- publish


def test_a_message_is_published_and_its_id_printed(
    hub: ThreadHub, topic: str, pub: str, call: Caller, tmp_path: Path
) -> None:
    (tmp_path / "body").write_bytes(b"\xff\0")
    words = ["--header", "X-A: 1", "-H", "x-a:2", "--type", "image/x", pub, tmp_path / "body"]
    code, out, _ = call("publish", *words)
    [message] = hub.wait_for(topic)
    assert (code, out.decode()) == (0, f"{message.id}\n")
    assert message.body == b"\xff\0"
    assert [pair for pair in message.headers if pair[0].lower() == "x-a"] == [("X-A", "1"), ("x-a", "2")]
    assert message.header("Content-Type") == "image/x"


def test_a_message_is_published_once_under_a_key_with_the_hops_of_the_environment(
    hub: ThreadHub, topic: str, pub: str, call: Caller, tmp_path: Path
) -> None:
    (tmp_path / "headers").write_text("X-A: 1\n\nX-B: 2\n")
    for _ in range(2):
        call("publish", "--key", "k", "--header", f"@{tmp_path}/headers", pub, "/dev/null", HOOKBOT_HOPS="one,two")
    hub.publish(topic, b"the next")
    first, following = hub.wait_for(topic, 2)
    assert (first.body, first.hops) == (b"", ("one", "two"))
    assert (first.header("X-A"), first.header("X-B")) == ("1", "2")
    assert following.body == b"the next"


async def test_standard_input_is_published(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from stdin")
    async with hub_with() as hub:
        with open(tmp_path / "in", "rb") as stdin:
            async with running("publish", hub.url_for("/pub/a"), stdin=stdin) as publisher:
                assert await publisher.ended() == 0
        [message] = await hub.wait_for("a")
    assert message.body == b"from stdin"


async def test_whoever_waits_for_a_hub_can_be_interrupted() -> None:
    async with target(None) as server, running("publish", f"http://127.0.0.1:{server.port}/pub/a") as publisher:
        await server.arrived(1)
        assert await publisher.interrupted() == 130
