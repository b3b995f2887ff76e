"""Files of dead letters that are delivered again: what is done is removed, and nothing else."""

import os
import stat
from pathlib import Path

import pytest

from hookbot.delivery.dead_letters import DeadLetterFile
from hookbot.delivery.line_file import open_line_file
from hookbot.delivery.outcome import Attempt, Outcome
from hookbot.delivery.retried_file import RetriedFile, open_retried_file
from hookbot.errors import HookbotError
from hookbot.protocol.envelope import encode_line, to_envelope
from hookbot.protocol.message import Message
from support.full_disk import limited_files


def line(body: bytes) -> bytes:
    return encode_line({**to_envelope(Message("a", body, id="abcdefgh-000000000000001")), "failure": "no"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of three dead letters."""
    path = tmp_path / "lost.jsonl"
    path.write_bytes(line(b"1") + line(b"2") + line(b"3"))
    return path


def every(_: Message) -> bool:
    return True


async def deliver(file: RetriedFile, *failing: bytes) -> list[bytes]:
    """Handle the messages as a worker does; these bodies fail. Returns all bodies."""
    bodies = []
    async for message in file:
        bodies.append(message.body)
        kept = await file.take(message, "no") if message.body in failing else ""
        file.ended(Attempt(message, 1, Outcome("done"), kept_in=kept))
        file.ack(message)
    return bodies


async def test_what_is_done_is_removed_and_what_fails_again_stays_as_it_is(path: Path) -> None:
    with open_retried_file(path, every, None) as file:
        assert len(file) == 3
        assert await deliver(file, b"2") == [b"1", b"2", b"3"]

    assert path.read_bytes() == line(b"2")
    assert list(path.parent.iterdir()) == [path]


async def test_only_what_is_wanted_is_delivered_up_to_the_limit(path: Path) -> None:
    with open_retried_file(path, lambda message: message.body != b"1", 1) as file:
        assert await deliver(file) == [b"2"]

    assert path.read_bytes() == line(b"1") + line(b"3")


async def test_the_same_message_twice_is_two(path: Path) -> None:
    path.write_bytes(line(b"1") * 2)
    with open_retried_file(path, every, None) as file:
        first, second = [message async for message in file]
        file.ended(Attempt(second, 1, Outcome("done")))
        file.ack(second)
        file.ack(first)

        assert path.read_bytes() == line(b"1") + b"#" + line(b"1")[1:]


async def test_what_was_done_before_a_kill_is_not_delivered_again_but_removed(path: Path) -> None:
    path.write_bytes(b"#" + line(b"1") + line(b"2"))
    with open_retried_file(path, every, None) as file:
        assert await deliver(file, b"2") == [b"2"]

    assert path.read_bytes() == line(b"2")


async def test_what_comes_meanwhile_stays(path: Path) -> None:
    with open_retried_file(path, every, None) as file:
        await DeadLetterFile(path).take(Message("a", b"4", id="abcdefgh-000000000000004"), "new")
        assert await deliver(file) == [b"1", b"2", b"3"]

    with open_retried_file(path, every, None) as file:
        assert await deliver(file) == [b"4"]
    assert path.read_bytes() == b""


async def test_what_is_no_message_stays(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    others = b'damaged\n\n{"type": "heartbeat", "id": "x"}\n'
    path.write_bytes(others + line(b"1") + b'{"half')
    with open_retried_file(path, every, None) as file:
        assert file.damaged == 2
        assert await deliver(file) == [b"1"]

    assert path.read_bytes() == others + b'{"half'
    assert f"line 1 of {path} is damaged" in caplog.text


def test_a_file_of_which_nothing_is_done_is_left_alone(path: Path) -> None:
    before = path.stat()
    with open_retried_file(path, every, None):
        pass
    assert path.stat() == before


async def test_it_keeps_its_owner_its_mode_and_the_links_to_it(path: Path, tmp_path: Path) -> None:
    path.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(path, 1234, 2345)
    before = path.stat()
    (tmp_path / "link").symlink_to(path)

    with open_retried_file(tmp_path / "link", every, None) as file:
        await deliver(file, b"2")

    after = path.stat()
    assert (after.st_uid, after.st_gid, stat.S_IMODE(after.st_mode)) == (before.st_uid, before.st_gid, 0o640)
    assert (tmp_path / "link").is_symlink()


def test_a_single_process_retries_a_file(path: Path) -> None:
    with (
        open_retried_file(path, every, None),
        pytest.raises(HookbotError, match="another process retries"),
        open_retried_file(path, every, None),
    ):
        pass
    with open_retried_file(path, every, None):
        pass


def test_a_file_that_is_being_recorded_is_left_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.delivery.retried_file.APPENDING_S", 0)
    with (
        open_line_file(path),
        pytest.raises(HookbotError, match="another process writes to"),
        open_retried_file(path, every, None),
    ):
        pass


@pytest.mark.parametrize("kind", ["pipe", "missing"])
def test_what_is_no_file_is_refused(tmp_path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(tmp_path / kind)
    with pytest.raises(HookbotError, match="is no file"), open_retried_file(tmp_path / kind, every, None):
        pass


async def test_a_full_disk_leaves_the_marks(path: Path) -> None:
    with (
        pytest.raises(HookbotError, match="File too large; what begins with # there was delivered"),
        limited_files(10),
        open_retried_file(path, every, None) as file,
    ):
        await deliver(file, b"2", b"3")

    assert path.read_bytes() == b"#" + line(b"1")[1:] + line(b"2") + line(b"3")
    assert list(path.parent.iterdir()) == [path]


async def test_a_mark_that_cannot_be_written_ends_it(path: Path) -> None:
    with open(path, "rb") as lines, open(path, "rb", buffering=0) as unwritable:
        file = RetriedFile(path, lines, unwritable, [0], 0)
        message = await anext(file)
        with pytest.raises(HookbotError, match=f"cannot write to {path}"):
            file.ended(Attempt(message, 1, Outcome("done")))


async def test_progress_is_the_part_that_is_finished(path: Path) -> None:
    with open_retried_file(path, every, None) as file:
        shares = []
        async for message in file:
            file.ack(message)
            shares.append(round(file.share(message), 2))
    assert shares == [0.33, 0.67, 1]
