import json
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from hookbot.access.rate_limits import Rate
from hookbot.broker.broker import Broker
from hookbot.protocol.failures import Failure
from hookbot.protocol.message import Draft, Message, Once, Verified
from support.api import asked, audited, bearer, narrowed, open_api, publish
from support.fast_path import settled
from support.hubs import WholeHub

HEADERS = (("Content-Type", "application/json"), ("X-GitHub-Event", "push"), ("A", "1"), ("A", "2"))


async def redeliver(hub: WholeHub, id: str, **options: Any) -> httpx.Response:
    return await hub.http.post(f"/hookbot/v1/messages/{id}/redeliver", **options)


async def redeliver_all(hub: WholeHub, headers: Any = None, **query: str) -> list[Any]:
    """The lines of a redelivery of several messages."""
    response = await hub.http.post("/hookbot/v1/redeliver", params=query, headers=headers)
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


async def replays(hub: WholeHub) -> list[Message]:
    return [message for message in await hub.stored() if message.replay_of]


async def test_a_message_is_published_again_as_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_api(tmp_path) as hub:
        verified = Verified("github", "0", 1_700_000_000.0, "/unsafe/github.com/")
        once = (Once("delivery", "/unsafe/a", "key"),)
        first = await publish(
            hub, "/unsafe/a", 1, headers=HEADERS, query="a=b", verified=verified, hops=("r",), once=once
        )

        answers = [(await redeliver(hub, first.id)).json() for _ in range(2)]
        stored = await replays(hub)

    assert [answer["id"] for answer in answers] == [message.id for message in stored]
    for again in stored:
        assert (again.topic, again.body, again.headers, again.query) == ("/unsafe/a", b"1", HEADERS, "a=b")
        assert (again.verified, again.hops, again.replay_of) == (verified, ("r",), first.id)
        assert again.duplicate_of is None
    by = {"by": "/", "client": "127.0.0.1", "topic": "/unsafe/a", "replay_of": first.id}
    assert audited(caplog) == [
        ("a message was published again", {**by, "message_id": answer["id"]}) for answer in answers
    ]


@pytest.mark.parametrize("topic", ["acme/a", "acme/\u20ac", "acme/\\u20ac"])
async def test_a_failed_message_goes_back_to_where_it_failed(tmp_path: Path, topic: str) -> None:
    async with open_api(tmp_path) as hub:
        failure = Failure("deploy", "x", topic, "ValueError: no")
        failed = await publish(hub, failure.failed_topic, 1, headers=(*HEADERS, *failure.headers))

        answer = await redeliver(hub, failed.id)
        [again] = await replays(hub)

    assert answer.json() == {"id": again.id}
    assert (again.topic, again.headers, again.replay_of) == (topic, HEADERS, failed.id)


@pytest.mark.parametrize("topic", ["", "a//b", "hookbot/failed/deploy", "/unsafe/hookbot/x"])
async def test_a_failed_message_goes_to_no_topic_that_is_none(tmp_path: Path, topic: str) -> None:
    async with open_api(tmp_path) as hub:
        headers = (("Hookbot-Failed-Topic", topic),)
        failed = await publish(hub, "hookbot/failed/deploy", 1, headers=headers)

        assert (await redeliver(hub, failed.id)).status_code == 400
        assert (await redeliver_all(hub))[-1] == {"type": "done", "done": 0, "next": None}
        assert len(await hub.stored()) == 1


async def test_headers_of_a_failure_mean_nothing_on_other_topics(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "acme/a", 1, headers=(("Hookbot-Failed-Topic", "secret"),))

        await redeliver(hub, message.id)
        [again] = await replays(hub)

    assert (again.topic, again.headers) == ("acme/a", message.headers)


async def test_other_topics_of_the_hub_itself_are_only_for_the_hub(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        own = await publish(hub, "hookbot/other", 1)

        assert (await redeliver(hub, own.id)).status_code == 400


async def test_with_a_key_a_message_is_published_again_only_once(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "a", 1)
        key = {"Idempotency-Key": "k"}

        first, second = [await redeliver(hub, message.id, headers=key) for _ in range(2)]
        await redeliver_all(hub, key)
        await redeliver(hub, message.id, headers={"Idempotency-Key": "other"})
        long = await redeliver(hub, message.id, headers={"Idempotency-Key": "k" * 256})

        assert first.json() == second.json()
        # What was published again is a message itself.
        assert [again.replay_of for again in await replays(hub)] == [message.id, first.json()["id"], message.id]
        assert long.status_code == 400


async def test_all_that_match_are_published_again_in_their_order(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        messages = [await publish(hub, f"t/{n % 2}", {"n": n}) for n in range(250)]
        query = {"topic": "t/0", "where": "body.n < `240`", "from": messages[10].id}

        counted = (await hub.http.post("/hookbot/v1/redeliver", params={**query, "count": "only"})).json()
        lines = await redeliver_all(hub, **query)
        until = await redeliver_all(hub, topic="t/0", until=messages[2].id)
        stored = await replays(hub)

    assert counted == {"number": 115, "complete": True, "until": counted["until"]}
    assert {line["of"] for line in lines[:-1]} == {115}
    assert [line["type"] for line in lines] == ["progress"] * (len(lines) - 1) + ["done"]
    assert lines[-1] == {"type": "done", "done": 115, "next": None}
    assert [again.replay_of for again in stored[:115]] == [message.id for message in messages[10:240:2]]
    assert until[-1]["done"] == 2


async def test_more_than_a_request_publishes_are_left_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("hookbot.web.api.redelivery.MAX_MESSAGES", 3)
    async with open_api(tmp_path) as hub:
        *_, fourth, _ = [await publish(hub, "a", n) for n in range(5)]

        counted = (await hub.http.post("/hookbot/v1/redeliver", params={"count": "only"})).json()
        lines = await redeliver_all(
            hub, {"Authorization": f"Bearer {narrowed('/', name='ann')}"}, topic="a", text="a", event=""
        )

    assert counted == {"number": 3, "complete": False, "until": counted["until"]}
    assert lines == [
        {"type": "progress", "done": 3, "of": None},
        {"type": "done", "done": 3, "next": fourth.id},
    ]
    # What was searched for may be a secret.
    by = {"by": "ann", "client": "127.0.0.1"}
    assert audited(caplog) == [("messages were published again", {**by, "number": 3, "topic": "a"})]


async def test_what_is_published_while_the_client_leaves_is_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, whole = trio.Event(), Broker.commit

    async def commit(self: Broker, drafts: Sequence[Draft]) -> Any:
        begun.set()
        # Like the real one, it cannot be cancelled, and ends just when the client has left.
        with suppress(trio.Cancelled):
            await trio.sleep_forever()
        return await whole(self, drafts)

    async with open_api(tmp_path) as hub:
        for n in range(3):
            await publish(hub, "a", n)
        monkeypatch.setattr(Broker, "commit", commit)
        async with trio.open_nursery() as client:
            client.start_soon(partial(hub.http.post, "/hookbot/v1/redeliver", params={"topic": "a"}))
            await begun.wait()
            client.cancel_scope.cancel()
        await settled(lambda: audited(caplog))

    assert [fields["number"] for _, fields in audited(caplog)] == [3]


async def test_where_nothing_matches_nothing_is_committed(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        for _ in range(3):
            await publish(hub, "a", 1)

        lines = await redeliver_all(hub, event="push")
        stats = await asked(hub, "stats")

    assert [line["done"] for line in lines] == [0, 0]
    assert stats["commits"] == 3


async def test_an_error_is_the_last_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_us = [1_700_000_000_000_000]
    token = narrowed("/", expires="1700000100")
    async with open_api(tmp_path, clock=lambda: now_us[0]) as hub:
        await publish(hub, "a", 1)

        async def expire(self: Any) -> Any:
            now_us[0] += 200_000_000
            return {"number": 1, "complete": True}

        monkeypatch.setattr("hookbot.web.api.redelivery.Republication._count", expire)
        [line] = await redeliver_all(hub, {"Authorization": f"Bearer {token}"})

    assert (line["type"], line["done"]) == ("error", 0)
    assert "no longer valid" in line["detail"]
    assert len(await hub.stored()) == 1


async def test_publishing_again_takes_a_token_that_publishes(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        own = await publish(hub, "acme/a", 1)
        other = await publish(hub, "other/a", 1)
        reads = bearer("/sub/")

        answers = [(await redeliver(hub, id, headers=reads)).status_code for id in (own.id, other.id)]
        every = await hub.http.post("/hookbot/v1/redeliver", headers=reads, params={"count": "only"})

        assert answers == [403, 403]
        assert every.status_code == 403
        assert "/pub/acme/a" in every.text
        assert await replays(hub) == []


async def test_a_prefix_token_redelivers_nothing_of_its_neighbours(tmp_path: Path) -> None:
    token = bearer("/sub/acme/")
    async with open_api(tmp_path) as hub:
        other = await publish(hub, "other/a", 1)

        assert (await redeliver(hub, other.id, headers=token)).status_code == 404
        outside = await hub.http.post("/hookbot/v1/redeliver", params={"topic": "other/"}, headers=token)
        assert outside.status_code == 403
        assert (await redeliver_all(hub, token))[-1]["done"] == 0
        assert await replays(hub) == []


async def test_what_was_published_again_is_routed_again(tmp_path: Path) -> None:
    text = '[routers.copy]\nrouter = "filter"\nreads = ["in"]\ntopic = "out"\n'
    async with open_api(tmp_path, text=text, routers=("copy",)) as hub:
        message = await publish(hub, "in", 1)
        async with hub.listen("/sub/out?since=all", "jsonl") as listener:
            await listener.take()
            await redeliver(hub, message.id)
            await listener.take()
        stored = await hub.stored()

    assert [(one.topic, one.replay_of, one.routed_from) for one in stored] == [
        ("in", None, None),
        ("out", None, message.id),
        ("in", message.id, None),
        ("out", None, stored[2].id),
    ]


async def test_a_message_that_is_published_again_counts_as_a_publish_of_its_client(tmp_path: Path) -> None:
    async with open_api(tmp_path, publish_rate=Rate(1, 3600)) as hub:
        message = await publish(hub, "acme/a", 1)
        again = [await hub.http.post(f"/hookbot/v1/messages/{message.id}/redeliver") for _ in range(2)]

    assert [answer.status_code for answer in again] == [200, 429]
