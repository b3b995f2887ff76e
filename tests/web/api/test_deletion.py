import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from hookbot.access.tokens import make_token
from hookbot.broker.deletions import Deletions
from hookbot.errors import Unavailable
from hookbot.protocol.failures import Failure
from hookbot.protocol.message import Message, Once
from hookbot.protocol.replies import Answer, Reply
from support import KEY
from support.api import BY_PAGE, audited, bearer, narrowed, open_api, publish, sign_in
from support.hubs import WholeHub

MANAGER = f"Bearer {narrowed('/acme/')}"
MESSAGES = "/hookbot/v1/messages"


async def delete(hub: WholeHub, id: str = "", headers: Any = None, **query: str) -> httpx.Response:
    query = {name.replace("_", "-"): value for name, value in query.items()}
    return await hub.http.delete(f"{MESSAGES}/{id}".rstrip("/"), params=query, headers=headers)


async def deleted(hub: WholeHub, id: str = "", headers: Any = None, **query: str) -> Any:
    """The last line of a deletion."""
    response = await delete(hub, id, headers, **query)
    assert response.status_code == 200, response.text
    return json.loads(response.text.splitlines()[-1])


async def topics(hub: WholeHub) -> list[str]:
    return [message.topic for message in await hub.stored()]


def files_with(data: bytes, directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and data in path.read_bytes()]


async def publish_copies(hub: WholeHub) -> tuple[Message, Message]:
    """A message with a copy of each kind, some of these with copies of their own, and the first of its copies."""
    once = (Once("delivery", "a", "key", exclusive=False),)
    first = await publish(hub, "a", 1, once=once)
    routed = await publish(hub, "routed", 1, routed_from=first.id)
    await publish(hub, "other", 1)
    await publish(hub, "routed/on", 1, routed_from=routed.id)
    replay = await publish(hub, "a", 1, replay_of=first.id)
    await publish(hub, "routed", 1, routed_from=replay.id)
    await publish(hub, "a", 1, once=once)
    await publish(hub, "hookbot/failed/r", 1, routed_from=first.id)
    return first, routed


@pytest.mark.parametrize("options", [{}, {"store": "sqlite:", "at_rest_keys": (bytes(32),)}])
async def test_a_message_is_deleted_with_its_copies(tmp_path: Path, options: dict[str, Any]) -> None:
    async with open_api(tmp_path, **options) as hub:
        first, _ = await publish_copies(hub)

        line = await deleted(hub, first.id)

        assert line == {
            "type": "done",
            "found": 7,
            "done": 7,
            "copies": 6,
            "left": 0,
            "topics": [],
            "until": first.id,
        }
        assert await topics(hub) == ["other"]


async def test_who_may_delete_a_message_deletes_its_answer_too(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "acme/a", 1)
        await hub.running.broker.publish(Answer(message.id, "acme/a", Reply()).draft)
        # Made of it, but on a topic of others.
        elsewhere = Answer("otherlog-000000000000001", "other", Reply()).draft
        await hub.running.broker.publish(replace(elsewhere, routed_from=message.id))

        line = await deleted(hub, message.id, {"Authorization": MANAGER})

        assert (line["done"], line["copies"], line["left"]) == (2, 1, 1)
        assert await topics(hub) == ["hookbot/replies/other"]


async def test_a_copy_is_deleted_without_what_it_was_made_of(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        _, routed = await publish_copies(hub)

        assert (await deleted(hub, routed.id))["done"] == 2
        assert await topics(hub) == ["a", "other", "a", "routed", "a", "hookbot/failed/r"]


async def test_copies_that_stay_are_told(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        first, _ = await publish_copies(hub)

        line = await deleted(hub, first.id, only_this="")

        assert (line["done"], line["copies"], line["left"]) == (1, 0, 6)
        assert line["topics"] == ["routed", "routed/on", "a", "hookbot/failed/r"]
        assert len(await topics(hub)) == 7


async def test_what_is_gone_is_not_found(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "a", 1)

        answers = [(await delete(hub, message.id)).status_code for _ in range(2)]
        shown = await hub.http.get(f"{MESSAGES}/{message.id}")

    assert answers == [200, 404]
    assert shown.status_code == 404


async def test_all_that_filters_select_is_deleted(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        messages = [await publish(hub, f"t/{n % 2}", {"n": n}) for n in range(500)]
        await publish(hub, "copy", 1, routed_from=messages[20].id)
        await publish(hub, "copy", 1, routed_from=messages[21].id)
        query = {"topic": "t/0", "where": "body.n < `480`", "from": messages[10].id}

        counted = await deleted(hub, **query, count="only")
        response = await delete(hub, **query)
        until = await deleted(hub, topic="t/", until=messages[2].id)
        stored = await hub.stored()

    lines = [json.loads(line) for line in response.text.splitlines()]
    assert (counted["found"], counted["done"], counted["copies"]) == (236, 0, 1)
    assert counted["until"] == messages[-1].id[:-3] + "502"
    assert [line["type"] for line in lines] == ["progress"] * (len(lines) - 1) + ["done"]
    assert {line["done"] for line in lines} == {0, 200, 236}
    assert (until["found"], until["done"]) == (3, 3)
    odd = [message.id for message in messages[3:] if message.topic == "t/1"]
    even = [message.id for message in (*messages[4:10:2], *messages[480::2])]
    assert sorted(message.id for message in stored[:-1]) == sorted(odd + even)
    assert stored[-1].routed_from == messages[21].id


async def test_only_counting_deletes_nothing(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        first, _ = await publish_copies(hub)

        line = await deleted(hub, first.id, count="only")

        assert (line["found"], line["copies"], line["done"]) == (7, 6, 0)
        assert len(await topics(hub)) == 8


async def test_copies_that_are_made_meanwhile_are_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_api(tmp_path) as hub:
        first = await publish(hub, "a", 1)
        whole = Deletions.take_out

        async def delete_late(self: Any, positions: Any) -> int:
            # A router that had read it before.
            if first.position in positions:
                await publish(hub, "routed", 1, routed_from=first.id)
            return await whole(self, positions)

        monkeypatch.setattr(Deletions, "take_out", delete_late)
        line = await deleted(hub, first.id)

        assert (line["done"], line["copies"]) == (2, 1)
        assert await topics(hub) == []


async def test_copies_that_another_hub_has_just_stored_are_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_api(tmp_path) as hub:
        first = await publish(hub, "a", 1)

        async def hear_of_another() -> None:
            if hub.head == 1:
                await publish(hub, "routed", 1, routed_from=first.id)

        monkeypatch.setattr(hub.running.broker.log, "refresh", hear_of_another)

        assert (await deleted(hub, first.id))["done"] == 2


async def test_a_copy_is_deleted_before_what_it_was_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hookbot.web.api.deletion._AT_ONCE", 1)
    steps: list[int] = []
    async with open_api(tmp_path) as hub:
        for _ in range(2):
            first = await publish(hub, "a", 1)
            await publish(hub, "b", 1, routed_from=first.id)
        whole = Deletions.take_out

        async def noted(self: Any, positions: Any) -> int:
            steps.extend(positions)
            return await whole(self, positions)

        monkeypatch.setattr(Deletions, "take_out", noted)
        await deleted(hub, topic="a")

    assert steps == [4, 3, 2, 1]


@pytest.mark.parametrize(
    "query", [{}, {"topic": ""}, {"topic": "a", "count": "x"}, {"topic": "a", "only-this": "false"}]
)
async def test_mistakes_delete_nothing(tmp_path: Path, query: dict[str, str]) -> None:
    async with open_api(tmp_path) as hub:
        await publish(hub, "a", 1)

        assert (await delete(hub, **query)).status_code == 400
        assert await topics(hub) == ["a"]


async def test_a_token_deletes_what_it_subscribes_and_publishes_to(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        own = await publish(hub, "acme/a", 1)
        other = await publish(hub, "other/a", 1)

        reads = [await delete(hub, own.id, bearer("/sub/acme/")), await delete(hub, "", bearer("/sub/"), topic="acme/")]
        foreign = [
            await delete(hub, other.id, bearer("/acme/")),
            await delete(hub, "", bearer("/acme/"), topic="other/"),
        ]
        operator = await deleted(hub, other.id, bearer("/hookbot/v1/"))
        manager = await deleted(hub, "", bearer("/acme/"), topic="acme/")

        assert [answer.status_code for answer in reads] == [403, 403]
        assert [answer.status_code for answer in foreign] == [404, 403]
        assert (operator["done"], manager["done"]) == (1, 1)


async def test_copies_that_the_token_does_not_manage_stay(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        first = await publish(hub, "acme/a", 1)
        own = Failure("r", first.id, "acme/a", "no")
        foreign = Failure("r", first.id, "other/a", "no")
        await publish(hub, "acme/b", 1, routed_from=first.id)
        hidden = await publish(hub, "other/b", 1, routed_from=first.id)
        await publish(hub, "acme/c", 1, routed_from=hidden.id)
        await publish(hub, own.failed_topic, 1, headers=own.headers, routed_from=first.id)
        await publish(hub, foreign.failed_topic, 1, headers=foreign.headers, routed_from=first.id)

        line = await deleted(hub, first.id, bearer("/acme/"))

        # The names of topics that it does not see are for others.
        assert (line["done"], line["left"], line["topics"]) == (4, 2, [])
        assert await topics(hub) == ["other/b", foreign.failed_topic]


async def test_a_failed_message_is_deleted_by_who_manages_the_topic_where_it_was(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        own, foreign = (Failure("r", "x", topic, "no") for topic in ("acme/a", "other/a"))
        first, second = [await publish(hub, one.failed_topic, 1, headers=one.headers) for one in (own, foreign)]

        assert (await delete(hub, first.id, bearer("/sub/acme/"))).status_code == 403
        assert (await delete(hub, second.id, bearer("/acme/"))).status_code == 404
        assert (await deleted(hub, first.id, bearer("/acme/")))["done"] == 1


async def test_only_pages_of_the_hub_delete_with_a_session(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub, httpx.AsyncClient(base_url=hub.running.url) as browser:
        message = await publish(hub, "a", 1)
        await sign_in(browser, "/")

        foreign = await browser.delete(f"{MESSAGES}/{message.id}")
        own = await browser.delete(f"{MESSAGES}/{message.id}", headers=BY_PAGE)

    assert (foreign.status_code, own.status_code) == (403, 200)


async def test_the_audit_says_who_deleted_what_and_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "acme/a", b"s3cret")
        await publish(hub, "acme/a", b"s3cret")
        named = {"Authorization": f"Bearer {narrowed('/', name='ann')}"}

        await deleted(hub, message.id, named)
        await deleted(hub, topic="acme/", text="s3cret", token=make_token(KEY, "/"))
        await deleted(hub, topic="acme/")

    ann = {"by": "ann", "client": "127.0.0.1", "message_id": message.id}
    all_ = {"by": "/", "client": "127.0.0.1", "topic": "acme/"}
    assert audited(caplog) == [
        ("a deletion was begun", ann),
        ("messages were deleted", {**ann, "number": 1}),
        ("a deletion was begun", all_),
        ("messages were deleted", {**all_, "number": 1}),
        ("a deletion was begun", all_),
    ]


async def test_what_is_done_before_the_log_fails_is_told_and_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hookbot.web.api.deletion._AT_ONCE", 1)
    async with open_api(tmp_path) as hub:
        for _ in range(2):
            await publish(hub, "a", 1)
        whole = Deletions.take_out

        async def fail_at_the_oldest(self: Any, positions: Any) -> int:
            if 1 in positions:
                raise Unavailable("the disk is full")
            return await whole(self, positions)

        monkeypatch.setattr(Deletions, "take_out", fail_at_the_oldest)
        line = await deleted(hub, topic="a")

    assert line == {"type": "error", "found": 2, "done": 1, "detail": "the disk is full"}
    assert [fields.get("number") for _, fields in audited(caplog)] == [None, 1]


async def test_bytes_that_cannot_be_erased_yet_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "a", 1)

        async def read_by_another(self: Any) -> None:
            raise Unavailable("another process reads the log")

        monkeypatch.setattr(Deletions, "erase", read_by_another)
        line = await deleted(hub, message.id)

    assert (line["type"], line["done"], line["detail"]) == ("done", 1, "another process reads the log")


async def test_nothing_is_left_of_what_a_router_has_passed_on(tmp_path: Path) -> None:
    secret = b"correct-horse-battery-staple"
    text = '[routers.copy]\nrouter = "filter"\nreads = ["in"]\ntopic = "out"\n'
    async with open_api(tmp_path, text=text, routers=("copy",), store="sqlite:") as hub:
        message = await publish(hub, "in", b"password=" + secret, headers=(("X-Secret", secret.decode()),))
        async with hub.listen("/sub/out?since=all", "jsonl") as listener:
            await listener.take()
        assert files_with(secret, tmp_path)

        line = await deleted(hub, message.id)

        assert line["done"] == 2
        assert files_with(secret, tmp_path) == []
    assert files_with(secret, tmp_path) == []
