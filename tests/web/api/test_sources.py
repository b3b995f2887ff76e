"""The sources of a hub: what came to each, and tests of them."""

from pathlib import Path
from typing import Any

import pytest

from support import SECRET
from support.api import audited, bearer, open_api
from support.hubs import WholeHub
from support.signature_samples import PUBLIC

PATH = "/hookbot/v1/sources"
SOURCES = f"""
[[sources]]
topic = "/unsafe/acme/"
provider = "github"
secrets = ["{SECRET}"]
allow_from = ["127.0.0.1"]
owners = ["acme"]
expect_every = "5400s"

[[sources]]
topic = "/unsafe/shop"
provider = "shopify"
secrets = ["{SECRET}"]
single_use = true
allow_from = ["192.0.2.1"]

[[sources]]
topic = "payments"
provider = "square"
secrets = ["{SECRET}"]
url = "https://hooks.example.com"

[[sources]]
topic = "/unsafe/chat"
provider = "discord"
secrets = ["{PUBLIC.hex()}"]
"""


async def listed(hub: WholeHub, path: str = "/") -> dict[str, dict[str, Any]]:
    answer = await hub.http.get(PATH, headers=bearer(path))
    return {one.pop("topic"): one for one in answer.raise_for_status().json()["sources"]}


async def test_a_source_tells_what_it_accepted_and_refused_and_why(tmp_path: Path) -> None:
    async with open_api(tmp_path, text=SOURCES) as hub:
        for body in (b"{}", b"[]", b"{}"):
            await hub.deliver("github", "/unsafe/pub/acme/app", body)
        await hub.deliver("github", "/unsafe/pub/acme/app", secret="another")
        sources = await listed(hub)

    source = sources["/unsafe/acme/"]
    assert source.pop("why").startswith("the signature in the header X-Hub-Signature-256 is not the HMAC-SHA256")
    assert source.pop("last_accepted") < source.pop("last_refused")
    assert source == {
        "provider": "github",
        "url": f"{hub.running.url}/unsafe/pub/acme/",
        "needs_token": False,
        "accepted": 2,
        "duplicates": 1,
        "refused": 1,
        "expect_every": "90m",
        "silent_since": None,
        "testable": True,
        "untestable": None,
    }
    unused = sources["payments"]
    assert (unused["url"], unused["needs_token"]) == ("https://hooks.example.com/pub/payments", True)
    assert [unused[name] for name in ("accepted", "last_accepted", "last_refused", "why")] == [0, None, None, None]
    assert (unused["expect_every"], unused["silent_since"]) == (None, None)


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/hookbot/v1/", ["/unsafe/acme/", "/unsafe/shop", "payments", "/unsafe/chat"]),
        ("/sub/", ["payments"]),
        ("/sub/payments", ["payments"]),
        ("/unsafe/sub/acme/", ["/unsafe/acme/"]),
        ("/unsafe/sub/acme/app", []),
    ],
)
async def test_a_token_sees_only_sources_of_its_topics(tmp_path: Path, path: str, seen: list[str]) -> None:
    async with open_api(tmp_path, text=SOURCES) as hub:
        assert list(await listed(hub, path)) == seen


@pytest.mark.parametrize(
    ("topic", "stored_as", "provider"),
    [
        ("/unsafe/acme/", "/unsafe/acme/hookbot-test", "github"),
        ("/unsafe/acme/app", "/unsafe/acme/app", "github"),
        ("/unsafe/shop", "/unsafe/shop", "shopify"),
        ("payments", "payments", "square"),
    ],
)
async def test_a_test_is_verified_and_stored_each_time_wherever_the_sender_has_to_be(
    tmp_path: Path, topic: str, stored_as: str, provider: str
) -> None:
    async with open_api(tmp_path, text=SOURCES) as hub:
        ids = [(await hub.http.post(f"{PATH}/test", params={"topic": topic})).json()["id"] for _ in range(2)]
        stored = await hub.stored()
        sources = await listed(hub)

    assert [message.id for message in stored] == ids
    assert {message.topic for message in stored} == {stored_as}
    assert all(message.verified and message.verified.provider == provider for message in stored)
    assert sum(source["accepted"] for source in sources.values()) == 2


async def test_a_test_tells_of_an_event_of_an_owner_and_is_audited(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_api(tmp_path, text=SOURCES) as hub:
        query = {"topic": "/unsafe/acme/", "event": "pull_request"}
        answer = (await hub.http.post(f"{PATH}/test", params=query)).raise_for_status().json()
        [stored] = await hub.stored()

    assert stored.header("X-GitHub-Event") == "pull_request"
    assert stored.json()["repository"]["full_name"] == "acme/app"
    [(act, fields)] = audited(caplog)
    assert act == "a test was sent to a source"
    about = {"topic": "/unsafe/acme/hookbot-test", "event": "pull_request", "message_id": answer["id"]}
    assert about.items() <= fields.items()


@pytest.mark.parametrize(
    ("event", "why"),
    [("pull_requests", "did you mean 'pull_request'?"), ("../stripe/test", "github has no sample of the event")],
)
async def test_an_unknown_event_is_refused(tmp_path: Path, event: str, why: str) -> None:
    async with open_api(tmp_path, text=SOURCES) as hub:
        answer = await hub.http.post(f"{PATH}/test", params={"topic": "/unsafe/acme/", "event": event})
        stored = await hub.stored()

    assert (answer.status_code, len(stored)) == (400, 0)
    assert why in answer.text


async def test_a_handshake_is_no_test(tmp_path: Path) -> None:
    source = f'[[sources]]\ntopic = "/unsafe/chat"\nprovider = "slack"\nsecrets = ["{SECRET}"]'
    async with open_api(tmp_path, text=source) as hub:
        answer = await hub.http.post(f"{PATH}/test", params={"topic": "/unsafe/chat", "event": "url_verification"})
        listed = (await hub.http.get(f"{PATH}/events")).json()["events"]

    assert (answer.status_code, "it is a handshake" in answer.text) == (400, True)
    assert {"message", "slash_command", "test"} < set(listed["slack"])
    assert "url_verification" not in listed["slack"]


async def test_events_are_those_of_the_providers_of_sources_that_the_token_sees(tmp_path: Path) -> None:
    async with open_api(tmp_path, text=SOURCES) as hub:
        every = (await hub.http.get(f"{PATH}/events")).json()["events"]
        some = (await hub.http.get(f"{PATH}/events", headers=bearer("/sub/payments"))).json()["events"]

    assert list(every) == ["discord", "github", "shopify", "square"]
    assert some == {"square": ["payment.created", "payment.updated", "refund.created", "test"]}


@pytest.mark.parametrize(
    ("path", "topic", "status", "why"),
    [
        ("/", "/unsafe/chat", 400, "only its sender has the key"),
        ("/", "other", 404, "no source has the topic 'other'"),
        ("/sub/others/", "payments", 404, "no source has the topic 'payments'"),
        ("/sub/payments", "payments", 403, "this takes a token for operators"),
        ("/payments", "payments", 200, "id"),
        ("/hookbot/v1/", "payments", 200, "id"),
    ],
)
async def test_a_test_takes_a_source_that_the_hub_can_sign_for_and_a_token_that_may_publish(
    tmp_path: Path, path: str, topic: str, status: int, why: str
) -> None:
    async with open_api(tmp_path, text=SOURCES) as hub:
        answer = await hub.http.post(f"{PATH}/test", params={"topic": topic}, headers=bearer(path))
        stored = await hub.stored()

    assert (answer.status_code, len(stored)) == (status, status == 200)
    assert why in answer.text


async def test_a_source_that_only_its_sender_signs_for_says_so(tmp_path: Path) -> None:
    async with open_api(tmp_path, text=SOURCES) as hub:
        source = (await listed(hub))["/unsafe/chat"]

    assert (source["testable"], source["untestable"]) == (
        False,
        "a delivery of discord cannot be signed here: only its sender has the key",
    )


async def test_deliveries_without_a_token_or_from_elsewhere_are_counted_as_refused(tmp_path: Path) -> None:
    async with open_api(tmp_path, text=SOURCES) as hub:
        await hub.deliver("square", "/pub/payments", token="wrong")
        await hub.deliver("shopify", "/unsafe/pub/shop")
        sources = await listed(hub)

    assert sources["payments"]["refused"] == 1
    assert sources["/unsafe/shop"]["why"] == "127.0.0.1 may not publish here"
