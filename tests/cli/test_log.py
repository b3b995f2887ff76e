"""``hookbot log copy``: hubs on both sides, and a listener that goes from one to the other."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result

from hookbot.access.tokens import make_token
from hookbot.cli.display import utc
from hookbot.cli.log import log, summary
from hookbot.log.copying import Copied
from hookbot.log.postgres_address import PostgresAddress
from hookbot.log.sealing import Sealing, key_id
from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.message import Draft
from support import GUARD_S, KEY
from support.clock import Clock
from support.commands import Caller, on_terminal, run
from support.copies import content_of, filled, open_log
from support.hubs import open_whole_hub
from support.postgres import PostgresServer, new_schema

PATH = "/sub/deploy/"


@pytest.fixture
def shared(postgres: PostgresServer) -> str:
    """The URL of a new database."""
    return f"{postgres.url}?schema={new_schema()}"


def invoke(*words: Any) -> Result:
    return CliRunner().invoke(log, ["copy", *map(str, words)])


async def test_a_listener_goes_on_at_the_hub_of_the_copy_and_back(shared: str, tmp_path: Path) -> None:
    first, back = tmp_path / "first", tmp_path / "back"
    at = partial(open_whole_hub, tmp_path)

    async with at(store="sqlite:", data_dir=first) as hub:
        for body in (b"1", b"2", b"3"):
            await hub.post("/pub/deploy/app", body, token=make_token(KEY, "/pub/deploy/app"))
        begun = await hub.heard(PATH, 1, cursor="laptop", since="all")
    there = await trio.to_thread.run_sync(invoke, f"sqlite:{first}", shared)
    async with at(store=PostgresAddress.parse(shared)) as hub:
        moved = await hub.heard(PATH, 1, cursor="laptop")
        by_id = await hub.heard(PATH, 2, since=begun[0].id)
        await hub.post("/pub/deploy/app", b"4", token=make_token(KEY, "/pub/deploy/app"))
    returned = await trio.to_thread.run_sync(invoke, shared, f"sqlite:{back}")
    async with at(store="sqlite:", data_dir=back) as hub:
        rest = await hub.heard(PATH, 2, cursor="laptop")

    assert (there.exit_code, returned.exit_code) == (0, 0), (there.output, returned.output)
    assert [[item.body for item in items] for items in (begun, moved, by_id, rest)] == [
        [b"1"],
        [b"2"],
        [b"2", b"3"],
        [b"3", b"4"],
    ]
    assert there.stdout.startswith("copied in ")


async def test_it_is_shown_with_which_keys_messages_are_encrypted(tmp_path: Path) -> None:
    key, clock = bytes(32), Clock()
    async with open_sqlite_log(tmp_path, clock_us=clock) as stored:
        await stored.append([Draft("a")])
    async with open_sqlite_log(tmp_path, clock_us=clock, sealing=Sealing([key])) as stored:
        clock.skip(seconds=60)
        await stored.append([Draft("a")] * 2)

        words = ["keys", f"sqlite:{tmp_path}"]
        shown = await trio.to_thread.run_sync(CliRunner().invoke, log, words)
        as_json = await trio.to_thread.run_sync(CliRunner().invoke, log, [*words, "--json"])

    rows = json.loads(as_json.stdout)
    assert [(row["key"], row["messages"]) for row in rows] == [("", 1), (key_id(key), 2)]
    head, *lines = [re.split("  +", line) for line in shown.stdout.splitlines()]
    assert head == ["KEY", "MESSAGES", "OLDEST", "NEWEST"]
    assert [line[:2] for line in lines] == [["not encrypted", "1"], [key_id(key), "2"]]
    assert [line[2:] for line in lines] == [[utc(row["oldest"]), utc(row["newest"])] for row in rows]


def test_what_was_copied_is_told_and_a_second_copy_refused(shared: str, tmp_path: Path, call: Caller) -> None:
    trio.run(filled, tmp_path / "one")

    copied = call("log", "copy", f"sqlite:{tmp_path}/one", shared)
    again = call("log", "copy", f"sqlite:{tmp_path}/one", shared)

    assert copied[0] == 0
    assert re.fullmatch(r"copied in [0-9.]+ s: messages 4, cursors 4, keys 2\n", copied[1].decode())
    assert again[:2] == (2, b"")
    assert "hookbot: there is a log in postgresql://127.0.0.1" in again[2]


def test_progress_is_shown_on_a_terminal(tmp_path: Path, call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    trio.run(filled, tmp_path / "one")

    with on_terminal(monkeypatch, "stderr") as shown:
        code, _, _ = call("log", "copy", f"sqlite:{tmp_path}/one", f"sqlite:{tmp_path}/other")

    assert code == 0
    assert b"messages/s" in shown
    assert b"4/4" in shown


def test_what_was_there_and_what_is_damaged_is_told(tmp_path: Path) -> None:
    told = summary(Copied(messages=3, earlier=2, damaged=1), 2)

    assert told.splitlines() == [
        "copied in 2.0 s: messages 3, cursors 0, keys 0",
        "copied by an attempt before: messages 2",
        "damaged and left out, which listeners are told as a gap: messages 1",
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["/var/lib", "sqlite:b"], 2, "a log is sqlite:DIRECTORY, with the data directory of a hub, or postgresql://"),
        (["sqlite:", "sqlite:b"], 2, "a log is sqlite:DIRECTORY"),
        (["sqlite:~/a", "sqlite:b"], 2, "write the whole path"),
        (["sqlite:a", "sqlite:a"], 2, "FROM and TO are the same log"),
        (["sqlite:a", "sqlite:b"], 2, "there is no log in the directory a"),
        (["postgresql://u:s3cret@@db", "sqlite:b"], 2, "the address of PostgreSQL is malformed"),
        (["postgresql://u:s3cret@127.0.0.1:1/db", "sqlite:b"], 4, "the hub cannot reach its log"),
    ],
)
@pytest.mark.usefixtures("directory")
def test_what_cannot_be_done_is_said(call: Caller, words: list[str], code: int, said: str) -> None:
    ended, _, err = call("log", "copy", *words)

    assert ended == code
    assert said in err
    assert "s3cret" not in err


KILLED = """
import os
from hookbot.log.{engine}_copy import {target} as Target

add, left = Target.add, [{times}]

async def added(target, messages):
    if not left[0]:
        os.kill(os.getpid(), {number})
    left[0] -= 1
    await add(target, messages)
    if not left[0]:
        os.kill(os.getpid(), {number})

Target.add = added
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "times"), [(9, 0), (9, 1), (9, 2), (2, 1)])
@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
async def test_a_copy_that_was_killed_or_interrupted_goes_on(
    engine: str, number: int, times: int, shared: str, tmp_path: Path
) -> None:
    before = await filled(tmp_path / "one")
    target = shared if engine == "postgres" else f"sqlite:{tmp_path}/other"
    words = "log", "copy", f"sqlite:{tmp_path}/one", target
    settings = KILLED.format(engine=engine, target=f"{engine.title()}Target", number=number, times=times)

    with trio.fail_after(GUARD_S):
        killed, _, _ = await run(*words, settings=settings)
        code, out, err = await run(*words)
        refused, _, _ = await run(*words)

    assert (killed, code, refused) == ({9: -9, 2: 130}[number], 0, 2), err
    assert ("copied by an attempt before" in out.decode()) is (times > 0)
    async with open_log(PostgresAddress.parse(shared) if engine == "postgres" else tmp_path / "other") as log:
        assert await content_of(log) == before
