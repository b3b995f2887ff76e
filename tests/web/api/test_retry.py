"""Retrying what routers have failed at, and dead letters of clients."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from hookbot.protocol.failures import Failure
from hookbot.protocol.message import Message, Verified, format_time
from support.api import audited, bearer, open_api, publish
from support.hubs import WholeHub

HEADERS = (("Content-Type", "application/json"), ("A", "1"))
VERIFIED = Verified("github", "0", 1_700_000_000.0, "/unsafe/github.com/")


async def failed(hub: WholeHub, message: Message, router: str = "deploy") -> Message:
    """What the hub publishes when a router has given a message up."""
    failure = Failure(router, message.id, message.topic, "ValueError: no")
    fields = {"query": message.query, "verified": message.verified, "routed_from": message.id}
    headers = (*message.headers, *failure.headers)
    return await publish(hub, failure.failed_topic, message.body, headers=headers, **fields)


async def dead_letter(hub: WholeHub, message: Message, topic: str = "dead", body: bytes = b"forged") -> Message:
    """What a client publishes as the dead letter of a message."""
    return await publish(hub, topic, body, headers=Failure("forward-1", message.id, message.topic, "500").headers)


async def retry(hub: WholeHub, id: str, **options: Any) -> httpx.Response:
    return await hub.http.post(f"/hookbot/v1/messages/{id}/retry", **options)


async def retry_all(hub: WholeHub, headers: Any = None, **query: str) -> Any:
    """The last line of a retry of several messages."""
    parameters = {name.replace("_", "-").rstrip("-"): value for name, value in query.items()}
    response = await hub.http.post("/hookbot/v1/retry", params=parameters, headers=headers)
    assert response.status_code == 200, response.text
    return json.loads(response.text.splitlines()[-1])


async def replays(hub: WholeHub) -> list[Message]:
    return [message for message in await hub.stored() if message.replay_of]


def done(number: int, *, before: int = 0, gone: int = 0) -> dict[str, Any]:
    return {"type": "done", "done": number, "before": before, "gone": gone, "next": None}


async def test_a_failed_message_goes_back_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with open_api(tmp_path) as hub:
        first = await publish(hub, "/unsafe/github.com/", 1, headers=HEADERS, query="a=b", verified=VERIFIED)
        failure = await failed(hub, first)

        answers = [(await retry(hub, failure.id)).json() for _ in range(2)]
        [again] = await replays(hub)

    assert answers == [{"id": again.id, "before": False}, {"id": again.id, "before": True}]
    assert (again.topic, again.body, again.headers) == (first.topic, first.body, HEADERS)
    assert (again.query, again.verified, again.replay_of) == ("a=b", VERIFIED, failure.id)
    act, fields = audited(caplog)[0]
    assert (act, fields["topic"], fields["failed"]) == ("a failed message was retried", first.topic, failure.id)


async def test_what_fails_again_is_retried_again(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        await retry(hub, (await failed(hub, await publish(hub, "a", 1))).id)
        [again] = await replays(hub)

        answer = await retry(hub, (await failed(hub, again)).id)

        assert answer.json()["before"] is False


async def test_a_message_at_which_several_routers_failed_goes_back_once(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "a", 1)
        for router in ("deploy", "jira"):
            await failed(hub, message, router)

        first, second = await retry_all(hub, router="deploy"), await retry_all(hub)

        assert (first, second) == (done(1), done(2, before=2))
        assert len(await replays(hub)) == 1


async def test_all_failed_messages_of_a_router_a_topic_or_a_time_go_back(tmp_path: Path) -> None:
    now_us = [1_700_000_000_000_000]
    async with open_api(tmp_path, clock=lambda: now_us[0]) as hub:
        for number, (router, topic) in enumerate(
            (r, t) for r in ("deploy", "jira") for t in ("a/1", "b", "/unsafe/a/2")
        ):
            now_us[0] += 60_000_000
            await failed(hub, await publish(hub, topic, number), router)
        time = format_time(now_us[0] - 150_000_000)

        counted = (await hub.http.post("/hookbot/v1/retry", params={"count": "only"})).json()
        of_topic = await retry_all(hub, topic="a/", router="deploy")
        of_router = await retry_all(hub, router="deploy")
        of_time = await retry_all(hub, from_=time, until="90s")
        bodies = [message.body for message in await replays(hub)]
        rest = await retry_all(hub, text="VALUEERROR")

    assert (counted["number"], counted["complete"]) == (6, True)
    assert (of_topic, of_router, of_time, rest) == (done(1), done(3, before=1), done(1), done(6, before=4))
    assert bodies == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("topic", ["", "a//b", "hookbot/failed/deploy"])
async def test_a_failure_on_no_topic_of_clients_stays(tmp_path: Path, topic: str) -> None:
    async with open_api(tmp_path) as hub:
        failure = await publish(hub, "hookbot/failed/deploy", 1, headers=(("Hookbot-Failed-Topic", topic),))

        assert (await retry(hub, failure.id)).status_code == 400
        assert await retry_all(hub) == done(0)


async def test_of_a_dead_letter_the_message_goes_back_that_it_names(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "/unsafe/github.com/", 1, headers=HEADERS, verified=VERIFIED)
        letters = [await dead_letter(hub, message) for _ in range(2)]

        one, all_ = await retry(hub, letters[0].id), await retry_all(hub, dead_letters="dead")
        [again] = await replays(hub)

    assert (one.json(), all_) == ({"id": again.id, "before": False}, done(2, before=2))
    assert (again.topic, again.body, again.headers) == (message.topic, b"1", HEADERS)
    assert (again.verified, again.replay_of) == (VERIFIED, message.id)


async def test_dead_letters_whose_message_is_gone_or_was_elsewhere_are_told(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "a", 1)
        gone = Failure("f", f"{message.id[:9]}{10**14:015d}", "a", "500")
        elsewhere = Failure("f", message.id, "b", "500")
        foreign = Failure("f", "not-of-this-log", "a", "500")
        for failure in (gone, elsewhere, foreign):
            letter = await publish(hub, "dead/letters", b"x", headers=failure.headers)

        one, all_ = await retry(hub, letter.id), await retry_all(hub, dead_letters="dead/")

        assert (one.status_code, all_) == (400, done(3, gone=3))
        assert await replays(hub) == []


async def test_what_anybody_may_have_sent_is_no_dead_letter(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "a", 1)
        letter = await dead_letter(hub, message, "/unsafe/dead")

        one, all_ = await retry(hub, letter.id), await retry_all(hub, dead_letters="/unsafe/dead")
        other = await retry(hub, message.id)

    assert (one.status_code, all_, other.status_code) == (400, done(0), 400)
    assert "is none that has failed" in other.text


async def test_it_takes_a_token_for_where_they_failed(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        mine, theirs = await publish(hub, "acme/a", 1), await publish(hub, "other/a", 1)
        letters = [await dead_letter(hub, message, "acme/dead") for message in (mine, theirs)]
        failures = [await failed(hub, message) for message in (mine, theirs)]
        reads, both = bearer("/sub/acme/"), bearer("/acme/")

        only_read = [(await retry(hub, id, headers=reads)).status_code for id in (failures[0].id, letters[0].id)]
        counted = await hub.http.post("/hookbot/v1/retry", params={"count": "only"}, headers=reads)
        of_others = [(await retry(hub, id, headers=both)).status_code for id in (failures[1].id, letters[1].id)]
        own = await retry_all(hub, both), await retry_all(hub, both, dead_letters="acme/")
        outside = await hub.http.post("/hookbot/v1/retry", params={"dead-letters": "dead"}, headers=both)

    assert (only_read, counted.status_code) == ([403, 403], 403)
    assert (of_others, own, outside.status_code) == ([404, 404], (done(1), done(2, before=1, gone=1)), 403)


async def test_an_end_that_is_neither_an_id_nor_a_time_is_refused(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        answer = await hub.http.post("/hookbot/v1/retry", params={"from": "yesterday"})

    assert answer.status_code == 400
    assert answer.text.startswith("from must be an id, a duration")
