"""``hookbot retry-file``."""

import signal
from pathlib import Path
from typing import Any

import click
import pytest
import trio

from hookbot.delivery.recording import parse_line
from hookbot.protocol.envelope import encode_line, to_envelope
from hookbot.protocol.message import Message
from hookbot.signatures import SignedRequest, load_provider
from hookbot.testing import open_test_hub
from support.commands import Caller, starting
from support.hubs import ThreadHub
from support.targets import target

pytestmark = pytest.mark.usefixtures("environment")


@pytest.fixture
def lost(tmp_path: Path) -> Path:
    """A file of three dead letters."""
    path = tmp_path / "lost.jsonl"
    messages = [Message("a", b"%d" % number, id=f"abcdefgh-{number:015}", time_us=1) for number in (1, 2, 3)]
    path.write_bytes(b"".join(encode_line({**to_envelope(message), "failure": "no"}) for message in messages))
    return path


def bodies(path: Path) -> list[bytes]:
    kept = map(parse_line, path.read_bytes().splitlines())
    return [message.body for message in kept if isinstance(message, Message)]


def test_what_forward_has_kept_is_delivered_once_the_target_works(
    thread: ThreadHub, topic: str, sub: str, call: Caller, tmp_path: Path
) -> None:
    broken, repaired = thread.target(400, 422), thread.target(204, 500)
    thread.publish(topic, b"1", b"2", headers={"X-A": "1"})
    said = call("forward", "--since", "all", "--limit", "2", sub, broken.url)[2]
    kept, _, what = said.partition("kept in ")[2].splitlines()[0].partition(" ")

    first = call("retry-file", "--yes", kept, "--to", repaired.url)
    second = call("retry-file", "--yes", kept, "--to", repaired.url)
    third = call("retry-file", "--yes", kept, "--to", repaired.url)

    assert "hookbot retry-file" in what
    assert [code for code, _, _ in (first, second, third)] == [1, 0, 0]
    assert f"; given up after 1 attempt and kept in {kept}\n" in first[2]
    assert "1 delivered, 1 failed, in " in first[2]
    assert second[2].startswith("1 delivered, in ")
    assert third[1:] == (f"there is nothing to retry in {kept}\n".encode(), "")
    assert [request.body for request in repaired.requests] == [b"1", b"2", b"2"]
    assert repaired.requests[0].all("X-A") == ["1"]


def test_it_runs_a_command_or_publishes(thread: ThreadHub, topic: str, pub: str, call: Caller, lost: Path) -> None:
    code, out, _ = call("retry-file", "-y", "--limit", "1", lost, "--exec", "--", "cat")
    assert (code, out, bodies(lost)) == (0, b"a | 1\n", [b"2", b"3"])

    assert call("retry-file", "-y", lost, "--publish", pub, "--where", "body == `3`")[0] == 0
    assert ([message.body for message in thread.wait_for(topic)], bodies(lost)) == ([b"3"], [b"2"])


def test_what_is_posted_is_signed_anew_if_asked(thread: ThreadHub, call: Caller, lost: Path) -> None:
    server = thread.target()

    assert call("retry-file", "-y", lost, "--to", server.url, "--sign", "github", "--secret", "s3cret")[0] == 0

    for request in server.requests:
        signed = SignedRequest(request.body, tuple(request.headers))
        assert load_provider("github").verify(signed, ["s3cret"], now=0)


def test_it_asks_before(thread: ThreadHub, call: Caller, lost: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def confirm(text: str, **_: Any) -> bool:
        asked.append(text)
        if len(asked) == 1:
            raise click.Abort
        return True

    monkeypatch.setattr("click.confirm", confirm)
    server = thread.target()
    assert call("retry-file", lost, "--to", server.url)[0] == 130
    assert (server.requests, bodies(lost)) == ([], [b"1", b"2", b"3"])
    assert call("retry-file", lost, "--to", server.url, "--limit", "2")[0] == 0
    assert (asked, bodies(lost)) == (["Retry 3 messages?", "Retry 2 messages?"], [b"3"])


def test_damage_is_told_and_stays(thread: ThreadHub, call: Caller, lost: Path) -> None:
    lost.write_bytes(b"damaged\n" + lost.read_bytes())

    code, _, err = call("retry-file", "-y", lost, "--to", thread.target().url)

    assert (code, lost.read_bytes()) == (1, b"damaged\n")
    assert err.endswith("hookbot: some lines of the file are damaged\n")


async def test_a_kill_loses_nothing_and_repeats_only_what_was_in_hand(lost: Path) -> None:
    async with target(204, None) as server, starting() as start:
        words = ("retry-file", "--yes", lost, "--to", server.url)
        killed = await start(*words)
        await server.arrived(2)
        killed.signal(signal.SIGKILL)
        await killed.ended()
        again = await start(*words)

        assert await again.ended() == 0
        assert await server.arrived(4) == [b"1", b"2", b"2", b"3"]
    assert lost.read_bytes() == b""


async def test_ctrl_c_finishes_what_is_in_hand_and_keeps_the_rest(lost: Path) -> None:
    async with target(204, None) as server, starting() as start:
        process = await start("retry-file", "--yes", lost, "--to", server.url)
        await server.arrived(2)
        process.signal(signal.SIGINT)
        await process.until("stopping once")
        server.go()

        assert await process.ended() == 130
    assert bodies(lost) == [b"3"]


async def test_what_forward_gives_up_meanwhile_stays(lost: Path) -> None:
    with trio.fail_after(50):
        async with open_test_hub() as hub, target(204, None, 500) as server, target(400) as broken, starting() as start:
            words = ("--dead-letter", lost, "--since", "all", "--limit", 1, hub.url_for("/sub/b"), broken.url)
            retry = await start("retry-file", "--yes", lost, "--to", server.url)
            await server.arrived(2)
            await hub.publish("b", b"4")
            forward = await start("forward", *words)
            assert await forward.ended() == 0
            server.go()

            assert await retry.ended() == 1
    assert bodies(lost) == [b"3", b"4"]
