"""Quotas of a whole hub, on the fast path and without it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hookbot.access.tokens import make_token
from support import KEY, SECRET
from support.hubs import FORMATS, WholeHub, configured, open_whole_hub

QUOTAS = """
[quotas."team/"]
publishes = "4/h"
bytes = "100B/h"
subscribers = 2
cursors = 1

[quotas."team/a"]
publishes = "2/h"
"""
SOURCE = f"""
[[sources]]
topic = "/unsafe/acme/"
provider = "github"
secrets = ["{SECRET}"]

[quotas."/unsafe/acme/"]
publishes = "2/h"
"""


def token(path: str) -> str:
    return make_token(KEY, path)


async def publish(hub: WholeHub, topic: str, body: Any = b"", **headers: str) -> httpx.Response:
    return await hub.post(f"/pub/{topic}", body, tuple(headers.items()), token("/pub/"))


async def test_what_is_beyond_a_quota_of_the_topic_is_refused_with_429(tmp_path: Path, ways: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, QUOTAS, **ways) as hub:
        answers = [await publish(hub, topic) for topic in ["team/a"] * 3 + ["team/b"] * 3 + ["team", "other"]]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 200, 200, 429, 200, 200]
    assert answers[2].text == "the quota of 'team/a' is reached: publishes = 2/h\n"
    assert answers[5].text == "the quota of 'team/' is reached: publishes = 4/h\n"
    assert 1700 < int(answers[2].headers["retry-after"]) <= 1800
    assert hub.head == 6


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body[:10]
    yield body[10:]


async def test_bytes_are_counted_as_they_come_and_what_can_never_pass_is_too_large(
    tmp_path: Path, ways: dict[str, Any]
) -> None:
    async with open_whole_hub(tmp_path, QUOTAS, **ways) as hub:
        bodies = [b"x" * 101, b"x" * 60, b"x" * 41, chunks(b"x" * 41), chunks(b"x" * 30), b"x" * 10]
        answers = [await publish(hub, "team/b", body) for body in bodies]

    assert [answer.status_code for answer in answers] == [413, 200, 429, 429, 200, 200]
    assert answers[2].text == answers[3].text == "the quota of 'team/' is reached: bytes = 100B/h\n"


async def test_only_genuine_deliveries_that_are_new_are_counted(tmp_path: Path, ways: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, SOURCE, **ways) as hub:
        deliveries = [(b"1", "wrong"), (b"2", SECRET), (b"2", "wrong"), (b"3", SECRET), (b"4", SECRET), (b"5", "wrong")]
        answers = [await hub.deliver("github", "/unsafe/pub/acme/app", body, secret=s) for body, s in deliveries]

    assert [answer.status_code for answer in answers] == [401, 200, 401, 200, 429, 429]
    assert hub.head == 2


@pytest.mark.parametrize("form", FORMATS)
async def test_there_are_only_so_many_subscribers(tmp_path: Path, ways: dict[str, Any], form: str) -> None:
    async with (
        open_whole_hub(tmp_path, QUOTAS, **ways) as hub,
        hub.listen("/sub/team/a", form),
        hub.listen("/sub/team/", "raw"),
        hub.listen("/sub/team/b", form) as third,
        hub.listen("/sub/", form) as another,
    ):
        assert (third.status, third.headers["retry-after"]) == (429, "30")
        assert another.status in (101, 200)


async def test_there_are_only_so_many_cursors_and_groups(tmp_path: Path, ways: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, QUOTAS, **ways) as hub:
        async with hub.listen("/sub/team/a?cursor=one", "v1") as first:
            assert first.status == 101
        for path in ("/sub/team/b?group=two", "/sub/team/a?cursor=two"):
            async with hub.listen(path, "v1") as second:
                assert second.status == 400
        for path in ("/sub/team/a?cursor=one", "/sub/team?cursor=two"):
            async with hub.listen(path, "v1") as another:
                assert another.status == 101


async def test_a_reload_applies_other_quotas_and_keeps_what_is_used_of_the_same(
    tmp_path: Path, ways: dict[str, Any]
) -> None:
    async with open_whole_hub(tmp_path, QUOTAS, **ways) as hub, hub.listen("/sub/other/", "raw"):
        for _ in range(2):
            await publish(hub, "team/a")
        reread = configured(tmp_path, QUOTAS.replace("4/h", "9/h") + '[quotas."other/"]\nsubscribers = 1\n')
        await hub.running.reload(lambda: reread)

        assert (await publish(hub, "team/a")).status_code == 429
        assert [(await publish(hub, "team/b")).status_code for _ in range(10)] == [200] * 9 + [429]
        async with hub.listen("/sub/other/x", "raw") as second:
            assert second.status == 429


async def test_the_fast_path_refuses_on_one_connection_what_the_app_refuses(tmp_path: Path) -> None:
    async def statuses(door: bool) -> list[int]:
        async with open_whole_hub(tmp_path, QUOTAS, door=door) as hub:
            found = [await publish(hub, "team/b", b"x" * size) for size in (40, 30, 31, 0, 20, 5, 0)]
            return [answer.status_code for answer in found]

    assert await statuses(True) == await statuses(False) == [200, 200, 429, 200, 200, 429, 429]
