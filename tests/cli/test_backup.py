"""``hookbot backup`` and ``hookbot restore``: beside hubs that run, and listeners that go on after it."""

import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from hookbot.access.tokens import make_token
from hookbot.client import listen, publish
from hookbot.log.sqlite_file import FILE
from hookbot.protocol.message import Gap, Message, parse_id
from support import KEY
from support.commands import Caller, on_terminal, run, starting
from support.copies import content_of, filled, open_log
from support.hubs import HubProcess, open_whole_hub

PATH = "/sub/deploy/"
TOPIC = "/pub/deploy/app"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup.sqlite3"


async def test_listeners_go_on_after_a_restore(data: Path, backup: Path, tmp_path: Path) -> None:
    at = partial(open_whole_hub, tmp_path, store="sqlite:")

    async with at(data_dir=data) as hub:
        post = partial(hub.post, TOPIC, token=make_token(KEY, TOPIC))
        for body in (b"1", b"2"):
            await post(body)
        begun = await hub.heard(PATH, 1, cursor="laptop", since="all")
        backed_up = await run("backup", "--data-dir", str(data), str(backup))
        for body in (b"lost", b"lost too"):
            await post(body)
        ahead = await hub.heard(PATH, 3, cursor="laptop")
    restored = await run("restore", "--data-dir", str(tmp_path / "restored"), str(backup))
    async with at(data_dir=tmp_path / "restored") as hub:
        await hub.post(TOPIC, b"3", token=make_token(KEY, TOPIC))
        by_cursor = await hub.heard(PATH, 2, cursor="laptop")
        by_id = await hub.heard(PATH, 2, since=begun[0].id)
        from_ahead = await hub.heard(PATH, 1, since=ahead[-1].id)

    assert (backed_up[0], restored[0]) == (0, 0), (backed_up, restored)
    assert [[item.body for item in items] for items in (ahead, by_cursor, by_id)] == [
        [b"2", b"lost", b"lost too"],
        [b"2", b"3"],
        [b"2", b"3"],
    ]
    gap, *rest = from_ahead
    assert isinstance(gap, Gap)
    assert (gap.reason, parse_id(gap.before)[1], [item.body for item in rest]) == ("other-log", 3, [b"3"])
    assert parse_id(begun[0].id)[0] != parse_id(by_cursor[0].id)[0]


@pytest.mark.slow
async def test_a_listener_goes_on_with_an_acknowledgement_for_the_log_before(
    data: Path, backup: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with starting() as start:
        hub = HubProcess(start, data)
        await hub.start()
        await publish(hub.url(TOPIC), b"1")
        async with listen(hub.url(PATH), cursor="laptop", since="all", manual_ack=True) as messages:
            first = await anext(messages)
            assert isinstance(first, Message)
            await run("backup", "--data-dir", str(data), str(backup))
            await hub.kill()
            (data / FILE).rename(backup.with_name("damaged"))
            for companion in data.glob(f"{FILE}-*"):
                companion.unlink()
            assert (await run("restore", "--data-dir", str(data), str(backup)))[0] == 0
            messages.ack(first)
            await hub.start()
            await publish(hub.url(TOPIC), b"2")
            again, second = await anext(messages), await anext(messages)
            assert isinstance(second, Message)
            messages.ack(second)
            await publish(hub.url(TOPIC), b"3")
            third = await anext(messages)

    assert [item.body for item in (again, second, third) if isinstance(item, Message)] == [b"1", b"2", b"3"]
    assert "another log" not in caplog.text


def test_what_was_done_is_told(data: Path, backup: Path, tmp_path: Path, call: Caller) -> None:
    trio.run(filled, data)
    (data / "key").write_text("s3cret\n")

    backed_up = call("backup", "--data-dir", data, "--with-secrets", backup)
    restored = call("restore", "--data-dir", tmp_path / "restored", backup)

    size = backup.stat().st_size
    assert backed_up == (0, f"backed up {size / 1e6:.1f} MB, with key\n".encode(), "")
    assert restored[0] == 0
    assert restored[1].decode().startswith("restored: messages 4, cursors 4\nthe log ")
    assert restored[1].endswith(b"\nfiles: key\n")
    assert (tmp_path / "restored" / "key").read_text() == "s3cret\n"


def test_secrets_stay_where_they_are(data: Path, backup: Path, tmp_path: Path, call: Caller) -> None:
    trio.run(filled, data)
    (data / "key").write_text("s3cret\n")

    call("backup", backup, HOOKBOT_DATA_DIR=str(data))
    call("restore", backup, HOOKBOT_DATA_DIR=str(tmp_path / "restored"))

    assert b"s3cret" not in backup.read_bytes()
    assert not (tmp_path / "restored" / "key").exists()


def test_progress_is_shown_on_a_terminal(
    data: Path, backup: Path, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    trio.run(filled, data)

    with on_terminal(monkeypatch, "stderr") as shown:
        code, _, _ = call("backup", "--data-dir", data, backup)

    assert code == 0
    assert b"Copying" in shown


def test_the_data_directory_may_be_that_of_a_configuration(
    data: Path, backup: Path, tmp_path: Path, call: Caller
) -> None:
    trio.run(filled, data)
    (file := tmp_path / "hookbot.toml").write_text(f'data_dir = "{data}"\n')

    assert call("backup", "--config", file, backup)[0] == 0
    assert call("backup", "--config", file, "--data-dir", tmp_path / "other", backup)[0] == 2


@pytest.mark.parametrize(
    ("store", "said"),
    [
        ("memory:", "a log in memory (--store memory:) ends with its hub: there is nothing to back up"),
        ("postgresql://u:s3cret@db/hookbot", "a log in PostgreSQL is backed up by pg_dump, or by continuous archiving"),
    ],
)
@pytest.mark.parametrize("given", ["option", "variable", "file"])
def test_other_stores_are_backed_up_otherwise(
    data: Path, backup: Path, tmp_path: Path, call: Caller, store: str, said: str, given: str
) -> None:
    """Also where the data directory still has a log, from before the hub was moved."""
    trio.run(filled, data)
    (file := tmp_path / "hookbot.toml").write_text(f'store = "{store}"\n')
    words: dict[str, list[Any]] = {"option": ["--store", store], "variable": [], "file": ["--config", file]}
    variables = {"HOOKBOT_STORE": store} if given == "variable" else {}

    code, out, err = call("backup", "--data-dir", data, *words[given], backup, **variables)

    assert (code, out, backup.exists()) == (2, b"", False)
    assert said in err
    assert "s3cret" not in err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_a_backup_that_was_killed_leaves_the_one_before(
    data: Path, backup: Path, tmp_path: Path, number: signal.Signals
) -> None:
    await filled(data)
    await run("backup", "--data-dir", str(data), str(backup))
    before = backup.read_bytes()
    killed = f"import hookbot.log.sqlite_backup as b, os\nb.sleep = lambda s: os.kill(os.getpid(), {number.value})"

    code, _, _ = await run("backup", "--data-dir", str(data), str(backup), settings=killed)

    assert code == (-9 if number == signal.SIGKILL else 130)
    assert backup.read_bytes() == before
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert bool(left) is (number == signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_restore_that_was_killed_leaves_no_log_and_may_be_repeated(
    data: Path, backup: Path, tmp_path: Path, number: signal.Signals
) -> None:
    before = await filled(data)
    (data / "key").write_text("s3cret\n")
    await run("backup", "--with-secrets", "--data-dir", str(data), str(backup))
    target = tmp_path / "restored"
    killed = f"""
import hookbot.log.sqlite_restore as r, os
write = r._write
def killed(*words):
    write(*words)
    os.kill(os.getpid(), {number.value})
r._write = killed
"""
    words = "restore", "--data-dir", str(target), str(backup)

    code, _, _ = await run(*words, settings=killed)
    there = (target / FILE).exists()
    again, _, err = await run(*words)

    assert (code, there, again) == (-9 if number == signal.SIGKILL else 130, False, 0), err
    async with open_log(target) as log:
        assert len((await content_of(log)).messages) == len(before.messages)
