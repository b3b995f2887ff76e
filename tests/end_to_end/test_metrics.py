"""A hub under load counts neither more nor less than its clients do."""

import logging
from collections import Counter
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from hookbot.access.rate_limits import Rate
from hookbot.access.tokens import make_token
from hookbot.hub.hub import open_hub
from support import KEY, SECRET
from support.clients import WebSocket, connect
from support.hubs import SUBPROTOCOLS, configured, no_groups
from support.metrics import scrape

pytestmark = pytest.mark.slow

CONNECTIONS, ROUNDS = 20, 250
REQUESTS = CONNECTIONS * ROUNDS * 20
NEW = REQUESTS // 20 * 15
# Only ever reached by a test that fails: a machine takes 20 s for it, and minutes while it does much else.
LOAD_S = 300

SOURCE = f'[[sources]]\ntopic = "/unsafe/signed/"\nprovider = "github"\nsecrets = ["{SECRET}"]\n'
RIGHT, WRONG = make_token(KEY, "/pub/load/"), make_token("another key", "/pub/load/")
FORGED = ("X-Hub-Signature-256", f"sha256={64 * '0'}")


def request(path: str, body: bytes, *fields: tuple[str, str], token: str = "") -> bytes:
    authorization = [("Authorization", f"Bearer {token}")] if token else []
    lines = [f"{name}: {value}" for name, value in (("Content-Length", str(len(body))), *fields, *authorization)]
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: hub", *lines, "", ""]).encode() + body


def mix(number: int) -> list[bytes]:
    """Twenty requests: fifteen new messages, a repeat, and four that are refused."""
    send = partial(request, "/pub/load/a", token=RIGHT)
    key = ("Idempotency-Key", f'"{number}"')
    return [
        *(send(bytes(size)) for size in range(14)),
        send(b"first", key),
        send(b"first", key),
        send(b"other", key),
        request("/pub/load/a", b"", token=WRONG),
        request("/unsafe/pub/signed/a", b"{}", FORGED),
        request("/unsafe/pub/nothing", b""),
    ]


async def publish(port: int, first: int, statuses: Counter[int]) -> None:
    """Send all rounds of one connection, each at once."""
    async with await connect(port) as client:
        for number in range(first, first + ROUNDS):
            requests = mix(number)
            await client.send(b"".join(requests))
            statuses.update([(await client.answer()).status for _ in requests])


async def listen(
    port: int, format: str, heard: Counter[str], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """Count the messages that a subscriber hears, until it has heard all that are new."""
    authorization = ("Authorization", f"Bearer {make_token(KEY, '/sub/load/')}")
    async with await connect(port) as client:
        listener = WebSocket(client, "/sub/load/", SUBPROTOCOLS[format], headers=[authorization])
        await listener.ask()
        await listener.accepted()
        if format == "v1":
            assert b"hello" in await listener.payload()
        task_status.started()
        while heard[format] < NEW:
            heard[format] += (await listener.frame()) is not None


async def test_what_it_shows_after_a_hundred_thousand_requests_is_what_its_clients_have_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # Ten thousand refusals.
    caplog.set_level(logging.CRITICAL, "hookbot")
    statuses, heard = Counter[int](), Counter[str]()
    config = configured(tmp_path, SOURCE, store="sqlite:", unsafe_prefixes=("signed",), failure_rate=Rate(10**6, 1))
    with no_groups(), trio.fail_after(LOAD_S):
        async with open_hub(config) as hub, httpx.AsyncClient(base_url=hub.url) as http:
            port = httpx.URL(hub.url).port or 0
            async with trio.open_nursery() as nursery:
                for format in ("raw", "v1"):
                    await nursery.start(listen, port, format, heard)
                for number in range(CONNECTIONS):
                    nursery.start_soon(publish, port, number * ROUNDS, statuses)
            shown = await scrape(http)

    new, one = NEW, REQUESTS // 20
    assert statuses == {200: new + one, 401: 2 * one, 404: one, 422: one}
    assert heard == {"raw": new, "v1": new}
    assert shown["hookbot_published_total"] == shown["hookbot_batch_messages_sum"] == shown["hookbot_head"] == new
    assert shown["hookbot_published_bytes_total"] == one * (sum(range(14)) + 5)
    assert shown["hookbot_duplicates_total"] == one
    assert shown["hookbot_store_duration_seconds_count"] == new + one
    assert shown["hookbot_commit_duration_seconds_count"] == shown["hookbot_sync_duration_seconds_count"]
    assert {
        shown[f'hookbot_refused_total{{status="{status}"}}'] - number
        for status, number in statuses.items()
        if status > 200
    } == {0}
    reasons = {"unauthorized": one, "bad_signature": one, "not_found": one, "key_reused": one}
    assert {reason: shown[f'hookbot_refusals_total{{reason="{reason}"}}'] for reason in reasons} == reasons
    assert sum(shown.all("hookbot_refusals_total")) == sum(shown.all("hookbot_refused_total")) == 4 * one
    assert shown['hookbot_source_refused_total{source="/unsafe/signed/"}'] == one
    assert shown["hookbot_delivered_total"] == 2 * new
    assert [shown[f'hookbot_sent_messages_total{{format="{format}"}}'] for format in heard] == [new, new]
    assert 0 < shown["hookbot_tell_duration_seconds_count"] <= 2 * new
