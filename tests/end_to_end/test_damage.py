"""A whole hub on a file that is damaged or gone, and on a full disk, both ways in."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from hookbot.access.tokens import make_token
from hookbot.errors import ConfigError
from hookbot.log.sqlite_file import FILE
from hookbot.protocol.message import Draft
from support import KEY
from support.clients import Stream, WebSocket
from support.damage import GARBAGE, fill, leaves, root, small_disk, spoil, write_log
from support.hubs import FORMATS, open_whole_hub

COUNT = 2000
TOKEN = make_token(KEY, "/pub/a")

both_ways = pytest.mark.parametrize("ways", [{}, {"door": False}], ids=["fast path", "app"])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a log with many messages and a cursor."""
    drafts = [Draft("a", b"%300d" % n) for n in range(1, COUNT + 1)]
    return write_log(tmp_path_factory.mktemp("made"), drafts, cursors={"cursor /sub/a c": 5, "router/quiet": 5})


@pytest.fixture
def directory(tmp_path: Path, made: bytes) -> Path:
    (tmp_path / FILE).write_bytes(made)
    return tmp_path


async def heard(listener: WebSocket | Stream) -> list[bytes]:
    """Frames up to that of the last message, or until the hub closes."""
    frames: list[bytes] = []
    last = b"%d" % (COUNT + 1)
    while (frame := await listener.take()) is not None:
        frames.append(frame)
        if last in frame or b64encode(b"%300d" % (COUNT + 1)) in frame:
            break
    return frames


@both_ways
@pytest.mark.parametrize("form", FORMATS)
async def test_who_asks_for_everything_gets_what_can_be_read_and_is_told_of_the_rest(
    directory: Path, ways: dict[str, Any], form: str
) -> None:
    spoil(directory, leaves(directory, "body")[5])
    async with (
        open_whole_hub(directory, store="sqlite:", **ways) as hub,
        hub.listen("/sub/a?since=all", form) as listener,
    ):
        response = await hub.post("/pub/a", b"%300d" % (COUNT + 1), token=TOKEN)
        frames = await heard(listener)

    assert response.status_code == 200
    gaps = [frame for frame in frames if b"damage" in frame]
    if form == "raw":
        # It has no gaps: its websocket is closed before the first message that is missing.
        assert [int(frame) for frame in frames] == list(range(1, len(frames) + 1))
        assert 0 < len(frames) < COUNT
    else:
        assert len(gaps) == 1
        assert COUNT - 100 < len(frames) - 1 < COUNT


PAGES = {"log": 0, "body": 3, "budget": 0, "identity": 0, "once": 0, "cursor": 0, "sqlite_autoindex_once_1": 0}


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("name", PAGES)
async def test_a_hub_starts_and_publishes_whichever_of_these_pages_is_damaged(
    directory: Path, name: str, garbage: str
) -> None:
    spoil(directory, leaves(directory, name)[PAGES[name]], garbage)

    async with open_whole_hub(directory, store="sqlite:") as hub:
        for n in range(3):
            response = await hub.post("/pub/a", b"%d" % n, token=TOKEN)
            assert response.status_code == 200
        assert (await hub.http.get("/readyz")).status_code == 200


@pytest.mark.parametrize("table", ["log", "body"])
async def test_a_hub_that_cannot_store_any_message_is_not_ready(directory: Path, table: str) -> None:
    spoil(directory, root(directory, table))

    async with open_whole_hub(directory, store="sqlite:") as hub:
        assert (await hub.post("/pub/a", b"x", token=TOKEN)).status_code == 503
        assert (await hub.http.get("/readyz")).status_code == 503


async def test_a_hub_that_cannot_start_with_a_damaged_page_says_what_to_do(directory: Path) -> None:
    spoil(directory, 1)

    with pytest.raises(ConfigError, match=r"cannot be opened: .*: restore a backup, or start with an empty"):
        async with open_whole_hub(directory, store="sqlite:"):
            pass


async def test_cursors_whose_positions_are_damaged_wait_for_the_repair(directory: Path) -> None:
    spoil(directory, root(directory, "cursor"))

    async with open_whole_hub(directory, store="sqlite:") as hub:
        async with hub.listen("/sub/a?cursor=c", "v1") as listener:
            assert listener.status == 503
        listed = await hub.http.get(
            "/hookbot/v1/cursors", headers={"Authorization": f"Bearer {make_token(KEY, '/hookbot/v1/cursors')}"}
        )
        assert listed.status_code == 503
        assert (await hub.post("/pub/a", b"x", token=TOKEN)).status_code == 200


@both_ways
async def test_when_the_file_is_deleted_publishes_are_refused_and_the_hub_is_not_ready(
    directory: Path, ways: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_whole_hub(directory, store="sqlite:", **ways) as hub:
        (directory / FILE).unlink()

        for _ in range(3):
            response = await hub.post("/pub/a", b"x", token=TOKEN)
            assert response.status_code == 503
            assert "deleted or replaced" in response.text
        ready = await hub.http.get("/readyz")
        assert (ready.status_code, "deleted or replaced" in ready.text) == (503, True)
        async with hub.listen("/sub/a?since=all&follow=0&limit=3", "jsonl") as listener:
            assert len([await listener.take() for _ in range(3)]) == 3
    assert len([record for record in caplog.records if record.message.startswith("storing messages fails")]) == 1


@both_ways
async def test_a_hub_starts_on_a_full_disk_and_publishes_when_it_has_room(tmp_path: Path, ways: dict[str, Any]) -> None:
    with small_disk(tmp_path / "disk", "32m") as disk:
        async with open_whole_hub(tmp_path, data_dir=disk / "data", store="sqlite:", **ways) as hub:
            assert (await hub.post("/pub/a", b"before", token=TOKEN)).status_code == 200
        fill(disk)

        async with open_whole_hub(tmp_path, data_dir=disk / "data", store="sqlite:", **ways) as hub:
            fill(disk)
            assert (await hub.post("/pub/a", b"refused", token=TOKEN)).status_code == 503
            assert (await hub.http.get("/readyz")).status_code == 503
            assert [message.body for message in await hub.stored()] == [b"before"]

            (disk / "filler").unlink()
            assert (await hub.post("/pub/a", b"after", token=TOKEN)).status_code == 200
            assert [message.body for message in await hub.stored()] == [b"before", b"after"]
