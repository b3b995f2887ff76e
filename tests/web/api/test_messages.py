from pathlib import Path

import httpx
import pytest

from hookbot.protocol.failures import Failure
from support.api import asked, bearer, open_api, publish

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 100


async def test_messages_are_listed_newest_first_in_pages(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        ids = [(await publish(hub, "a", n)).id for n in range(5)]

        first = await asked(hub, "messages", limit=2)
        second = await asked(hub, "messages", limit=2, before=first["before"])
        third = await asked(hub, "messages", limit=2, before=second["before"])

    pages = [[message["id"] for message in page["messages"]] for page in (first, second, third)]
    assert pages == [ids[:2:-1], ids[2:0:-1], ids[:1]]
    assert (first["before"], third["before"], first["searched"]) == (ids[3], None, 2)


async def test_an_empty_log_has_no_messages(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        assert await asked(hub, "messages") == {"messages": [], "before": None, "searched": 0, "skipped": 0}


async def test_a_list_shows_what_matches(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        for topic, body in (("a/x", {"type": "one"}), ("a/y", {"type": "two"}), ("b", {"type": "two"})):
            await publish(hub, topic, body)

        found = await asked(hub, "messages", topic="a/", event="two")
        where = await asked(hub, "messages", where="body.type == 'two'")
        wrong = await hub.http.get("/hookbot/v1/messages", params={"where": "body."})

    assert [(one["topic"], one["event"]) for one in found["messages"]] == [("a/y", "two")]
    assert [one["topic"] for one in where["messages"]] == ["b", "a/y"]
    assert (found["searched"], found["before"]) == (2, None)
    assert wrong.status_code == 400


@pytest.mark.parametrize(("query", "status"), [({"limit": "0"}, 400), ({"before": "7"}, 400), ({"x": "1"}, 400)])
async def test_a_malformed_question_is_refused(tmp_path: Path, query: dict[str, str], status: int) -> None:
    async with open_api(tmp_path) as hub:
        assert (await hub.http.get("/hookbot/v1/messages", params=query)).status_code == status


async def test_a_message_is_shown_with_or_without_its_body(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "a", b"hello", headers=(("X-GitHub-Event", "push"), ("A", "1"), ("A", "2")))

        whole = await asked(hub, f"messages/{message.id}")
        without = await asked(hub, f"messages/{message.id}", body="none")
        missing = await hub.http.get(f"/hookbot/v1/messages/{message.id[:-1]}9")
        malformed = await hub.http.get("/hookbot/v1/messages/7")

    assert (whole["id"], whole["body"]) == (message.id, "hello")
    assert "body" not in without
    assert without["headers"] == whole["headers"] == [["X-GitHub-Event", "push"], ["A", "1"], ["A", "2"]]
    assert (without["size"], without["event"], without["verdict"], without["content_type"]) == (
        5,
        "push",
        "token",
        None,
    )
    assert (missing.status_code, malformed.status_code) == (404, 400)


@pytest.mark.parametrize(
    ("body", "headers", "content_type", "suffix"),
    [
        (b"<script>alert(1)</script>", (("Content-Type", "text/html"),), "application/octet-stream", "bin"),
        (PNG, (("Content-Type", "text/html"),), "image/png", "png"),
        (b"x" * 300_000, (("Content-Type", "image/png"),), "application/octet-stream", "bin"),
        (b"", (), "application/octet-stream", "bin"),
    ],
)
async def test_a_body_is_downloaded_harmlessly(
    tmp_path: Path, body: bytes, headers: tuple[tuple[str, str], ...], content_type: str, suffix: str
) -> None:
    async with open_api(tmp_path) as hub:
        message = await publish(hub, "a", body, headers=headers)

        whole = await hub.http.get(f"/hookbot/v1/messages/{message.id}/body")
        first = await hub.http.get(f"/hookbot/v1/messages/{message.id}/body", params={"first": "10"})

    assert (whole.content, first.content) == (body, body[:10])
    assert whole.headers["content-length"] == str(len(body))
    assert whole.headers["content-type"] == content_type
    assert whole.headers["content-disposition"] == f'attachment; filename="{message.id}.{suffix}"'
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-security-policy"] == "sandbox; default-src 'none'"


async def test_a_prefix_token_sees_nothing_of_its_neighbours(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        own = await publish(hub, "acme/a", 1)
        other = await publish(hub, "acmetoo/a", "acme")
        failures = [Failure("deploy", "x", topic, "no") for topic in ("acme/a", "other")]
        failed = [await publish(hub, one.failed_topic, b"", headers=one.headers) for one in failures]
        token = bearer("/sub/acme/")

        listed = await asked(hub, "messages", token)
        searched = await asked(hub, "messages", token, text="acme")
        outside = await hub.http.get("/hookbot/v1/messages", params={"topic": "acmetoo/"}, headers=token)

        async def statuses(id: str) -> list[int]:
            paths = (f"{id}", f"{id}?body=none", f"{id}/body", f"{id}/related")
            answers: list[httpx.Response] = [
                await hub.http.get(f"/hookbot/v1/messages/{path}", headers=token) for path in paths
            ]
            return [answer.status_code for answer in answers]

        seen = [await statuses(message.id) for message in (own, failed[0])]
        unseen = [await statuses(message.id) for message in (other, failed[1])]

    assert [one["id"] for one in listed["messages"]] == [failed[0].id, own.id]
    assert [one["id"] for one in searched["messages"]] == [failed[0].id, own.id]
    assert listed["searched"] == 2
    assert outside.status_code == 403
    assert seen == [[200] * 4] * 2
    assert unseen == [[404] * 4] * 2
