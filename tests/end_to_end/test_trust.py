"""Only the real sender is admitted: whole hubs, over sockets, by the fast path and by the app."""

import hmac
import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import trio

from hookbot.access.client_address import TrustedProxies
from hookbot.access.ip_ranges import RangeList, write_ranges
from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.rate_limits import Rate
from hookbot.access.tokens import make_token
from hookbot.log.retention import Retention
from support import KEY, SECRET
from support.certificate_authority import SNS
from support.certificate_authority import TOPIC as SNS_TOPIC
from support.clients import Stream, WebSocket, connect
from support.clock import START_US, Clock
from support.hubs import FORMATS, envelope, open_whole_hub
from support.web import Web

pytestmark = pytest.mark.slow

NOW_S = START_US // 1_000_000


@pytest.fixture
def clock() -> Clock:
    return Clock()


def source(provider: str, topic: str = "/unsafe/acme/", secrets: Sequence[str] = (SECRET,), **options: Any) -> str:
    lines = {"topic": topic, "provider": provider, "secrets": list(secrets), **options}
    return "[[sources]]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in lines.items())


def token(path: str) -> str:
    return make_token(KEY, path)


def narrowed(*caveats: Any, path: str = "/") -> str:
    made = NarrowedToken.of(token(path), path)
    for caveat in caveats:
        made = made.narrow(*caveat.split("=", 1))
    return str(made)


async def taken(listener: WebSocket | Stream) -> bytes:
    """Next message of a listener, which must not be its end."""
    heard = await listener.take()
    assert heard is not None
    return heard


# --- before it is stored


@pytest.mark.parametrize(
    ("provider", "options", "body", "header"),
    [
        ("bitbucket", {}, b'{"test": true}', ("X-Event-Key", "diagnostics:ping")),
        (
            "hmac",
            {"header": "X-WC-Webhook-Signature", "encoding": "base64"},
            b"webhook_id=15",
            ("Content-Type", "application/x-www-form-urlencoded"),
        ),
    ],
)
async def test_an_unsigned_ping_is_answered_and_not_stored_if_the_source_accepts_it(
    tmp_path: Path, ways: dict[str, Any], provider: str, options: dict[str, str], body: bytes, header: tuple[str, str]
) -> None:
    async with open_whole_hub(tmp_path, source(provider, accept_ping=True, **options), **ways) as hub:
        answer = await hub.post("/unsafe/pub/acme/x", body, [header])
        assert (answer.status_code, answer.content) == (200, b"OK\n")
        for other, headers in ((body + b"&", [header]), (b"{}", [header]), (body, [("X-Event-Key", "repo:push")])):
            assert (await hub.post("/unsafe/pub/acme/x", other, headers)).status_code == 401
        assert not await hub.stored()

    async with open_whole_hub(tmp_path, source(provider, **options), **ways) as hub:
        assert (await hub.post("/unsafe/pub/acme/x", body, [header])).status_code == 401


async def test_a_ping_of_which_no_more_than_the_head_is_one_is_refused_by_its_length(
    tmp_path: Path, ways: dict[str, Any]
) -> None:
    async with open_whole_hub(tmp_path, source("bitbucket", accept_ping=True), **ways) as hub:
        for headers in (["Content-Length: 65"], ["Transfer-Encoding: chunked"]):
            async with await connect(hub.port) as client:
                head = ["POST /unsafe/pub/acme/x HTTP/1.1", "Host: h", "X-Event-Key: diagnostics:ping", *headers]
                # The body never comes: it is not waited for.
                await client.send("\r\n".join([*head, "", ""]).encode())
                assert (await client.answer()).status == 401


async def test_a_genuine_delivery_is_stored_with_how_it_is_known(
    tmp_path: Path, ways: dict[str, Any], clock: Clock
) -> None:
    async with open_whole_hub(tmp_path, source("stripe", secrets=["old", SECRET]), clock=clock, **ways) as hub:
        answer = await hub.deliver(
            "stripe", "/unsafe/pub/acme/x", b'{"id": "evt_1"}', [("X-Seen", "1"), ("x-seen", "2")]
        )
        async with hub.listen("/unsafe/sub/acme/?since=all", "v1") as listener:
            heard = envelope("v1", await taken(listener))
    assert answer.status_code == 200
    assert heard["verified"] == {
        "provider": "stripe",
        "key": "1",
        "signed_at": float(NOW_S),
        "source": "/unsafe/acme/",
    }
    assert heard["topic"] == "/unsafe/acme/x"
    assert heard["body"] == '{"id": "evt_1"}'
    assert [pair for pair in heard["headers"] if pair[0].lower() == "x-seen"] == [["X-Seen", "1"], ["x-seen", "2"]]
    assert any(name.lower() == "stripe-signature" for name, _ in heard["headers"])


@pytest.mark.parametrize("forged", ["body", "secret", "missing", "stale", "future"])
async def test_a_forged_delivery_is_401_and_nothing_is_in_the_log(
    tmp_path: Path, ways: dict[str, Any], clock: Clock, caplog: pytest.LogCaptureFixture, forged: str
) -> None:
    caplog.set_level(logging.INFO, "hookbot.access")
    async with open_whole_hub(tmp_path, source("stripe"), clock=clock, **ways) as hub:
        if forged == "missing":
            answer = await hub.post("/unsafe/pub/acme/x", b"{}")
        elif forged == "body":
            genuine = await hub.deliver("stripe", "/unsafe/pub/acme/x", b"1")
            answer = await hub.post("/unsafe/pub/acme/x", b"2", genuine.request.headers.multi_items())
            assert hub.head == 1
        else:
            secret = "a guess" if forged == "secret" else SECRET
            now = {"stale": NOW_S - 301, "future": NOW_S + 301}.get(forged, NOW_S)
            answer = await hub.deliver("stripe", "/unsafe/pub/acme/x", b"2", secret=secret, now=now)
        assert [message.body for message in await hub.stored()] == ([b"1"] if forged == "body" else [])
    assert answer.status_code == 401
    [refusal] = caplog.records
    assert (refusal.__dict__["topic"], refusal.__dict__["provider"]) == ("/unsafe/acme/x", "stripe")
    assert SECRET not in f"{refusal.__dict__}{answer.text}"


async def test_a_safe_topic_needs_a_token_as_well_as_a_signature(tmp_path: Path, ways: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, source("github", topic="acme/"), **ways) as hub:
        good = token("/pub/acme/")
        assert (await hub.deliver("github", "/pub/acme/x")).status_code == 401
        assert (await hub.post("/pub/acme/x", b"{}", token=good)).status_code == 401
        assert (await hub.deliver("github", "/pub/acme/x", secret="a guess", token=good)).status_code == 401
        assert hub.head == 0
        assert (await hub.deliver("github", "/pub/acme/x", token=good)).status_code == 200
        assert (await hub.deliver("github", "/acme/x", token=token("/acme/x"))).status_code == 200
        assert (await hub.post("/pub/other", b"{}", token=token("/pub/other"))).status_code == 200


async def test_for_each_topic_the_longest_match_counts(tmp_path: Path, ways: dict[str, Any]) -> None:
    text = source("github") + source("stripe", topic="/unsafe/acme/pay/") + source("basic", "/unsafe/acme/b", ["a:b"])
    async with open_whole_hub(tmp_path, text, **ways) as hub:
        for path, right in (("acme/x", "github"), ("acme/pay/x", "stripe"), ("acme/pay", "github")):
            for provider in ("github", "stripe"):
                answer = await hub.deliver(provider, f"/unsafe/pub/{path}")
                assert answer.status_code == (200 if provider == right else 401), (path, provider)
        assert (await hub.deliver("basic", "/unsafe/pub/acme/b", secret="a:b")).status_code == 200
        assert (await hub.post("/unsafe/pub/acme", b"{}")).status_code == 200  # beneath no source


async def test_the_router_of_github_is_a_source_by_itself(tmp_path: Path, ways: dict[str, Any]) -> None:
    text = '[routers.github]\nsecrets = ["the router\'s own"]\nhost = "ghe.example"\n'
    async with open_whole_hub(tmp_path, text, routers=("github",), **ways) as hub:
        for secret, status in ((SECRET, 401), ("the router's own", 200)):
            answer = await hub.deliver("github", "/unsafe/pub/ghe.example/org/acme", secret=secret)
            assert answer.status_code == status
        # The router gives up a delivery that names nobody, and keeps it elsewhere.
        topics = [message.topic for message in await hub.stored()]
        assert topics.count("/unsafe/ghe.example/org/acme") == 1


FOREIGN = [
    ("github", "/unsafe/github.com/org/", {"repository": {"full_name": "acme/app"}}),
    ("github", "/unsafe/github.com/org/", {"repository": {"full_name": "evil/app"}, "organization": {"login": "acme"}}),
    ("gitlab", "/unsafe/gitlab.com/", {"project": {"path_with_namespace": "acme/app"}}),
]


@pytest.mark.parametrize(("provider", "beneath", "payload"), FOREIGN)
async def test_the_secret_of_one_organisation_says_nothing_about_another(
    tmp_path: Path,
    ways: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
    provider: str,
    beneath: str,
    payload: dict[str, Any],
) -> None:
    text = "".join(source(provider, f"{beneath}{name}", [f"{name}'s"]) for name in ("acme", "evil"))
    path = beneath.replace("/unsafe/", "/unsafe/pub/")
    body = json.dumps(payload).encode()
    caplog.set_level(logging.INFO, "hookbot.access")
    async with open_whole_hub(tmp_path, text, **ways) as hub:
        refused = await hub.deliver(provider, f"{path}evil", body, secret="evil's")
        assert hub.head == 0
        own = json.dumps(payload).replace("evil", "acme").encode()
        accepted = await hub.deliver(provider, f"{path}acme", own, secret="acme's")
    assert (refused.status_code, accepted.status_code) == (403, 200)
    assert "does not belong to evil" in refused.text
    assert "refused: the body names 'acme" in caplog.text


# --- secrets


SECRETIVE = {
    "gitlab": (source("gitlab"), "/unsafe/pub/acme/x", [("X-Gitlab-Token", SECRET)]),
    "basic": (
        source("basic", secrets=[f"u:{SECRET}"]),
        "/unsafe/pub/acme/x",
        [("Authorization", f"Basic {b64encode(f'u:{SECRET}'.encode()).decode()}")],
    ),
    "header": (source("header", header="X-Api-Key"), "/unsafe/pub/acme/x", [("x-api-key", SECRET)]),
    "query": (source("header", header="query:key"), f"/unsafe/pub/acme/x?key={SECRET.replace(' ', '+')}&a=1", []),
    "none": (
        "",
        f"/unsafe/pub/acme/x?token={SECRET.replace(' ', '+')}&a=1",
        [("Cookie", SECRET), ("X-Gitlab-Token", SECRET)],
    ),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("kind", SECRETIVE)
async def test_what_a_sender_shows_to_prove_itself_reaches_no_listener(
    tmp_path: Path, ways: dict[str, Any], kind: str, form: str
) -> None:
    text, path, headers = SECRETIVE[kind]
    async with open_whole_hub(tmp_path, text, **ways) as hub, hub.listen("/unsafe/sub/acme/", form) as listener:
        assert (await hub.post(path, b"the body", headers)).status_code == 200
        heard = await taken(listener)
        [stored] = await hub.stored()
    assert b64encode(b"the body") in heard or b"the body" in heard
    everything = heard + repr((stored.headers, stored.query)).encode()
    for shown in (SECRET, SECRET.replace(" ", "+"), b64encode(f"u:{SECRET}".encode()).decode()):
        assert shown.encode() not in everything


# --- repeats


@pytest.mark.parametrize("provider", ["stripe", "slack", "standard-webhooks"])
async def test_a_replay_is_answered_like_the_first_time_and_not_heard_again(
    tmp_path: Path, ways: dict[str, Any], clock: Clock, provider: str
) -> None:
    secret = "whsec_" + b64encode(SECRET.encode()).decode() if provider == "standard-webhooks" else SECRET
    text = source(provider, secrets=[secret])
    async with open_whole_hub(tmp_path, text, clock=clock, **ways) as hub:
        first = await hub.deliver(provider, "/unsafe/pub/acme/x", b'{"a": 1}', secret=secret)
        clock.skip(seconds=299)
        again = await hub.post("/unsafe/pub/acme/x", first.request.content, first.request.headers.multi_items())
        assert (first.status_code, again.status_code, hub.head) == (200, 200, 1)
        assert again.headers["Hookbot-Message-Id"] == first.headers["Hookbot-Message-Id"]
        assert again.headers["Hookbot-Duplicate"] == "true"
        assert "Hookbot-Duplicate" not in first.headers
        clock.skip(seconds=2)
        late = await hub.post("/unsafe/pub/acme/x", first.request.content, first.request.headers.multi_items())
        assert late.status_code == 401


async def test_a_replay_on_another_topic_of_the_same_source_is_a_replay(
    tmp_path: Path, ways: dict[str, Any], clock: Clock
) -> None:
    async with open_whole_hub(tmp_path, source("slack"), clock=clock, **ways) as hub:
        first = await hub.deliver("slack", "/unsafe/pub/acme/x")
        again = await hub.post("/unsafe/pub/acme/y", first.request.content, first.request.headers.multi_items())
        assert again.headers["Hookbot-Duplicate"] == "true"
        assert hub.head == 1


async def test_two_replays_at_once_are_heard_once(tmp_path: Path, ways: dict[str, Any], clock: Clock) -> None:
    async with open_whole_hub(tmp_path, source("slack"), clock=clock, **ways) as hub:
        answers = []

        async def deliver() -> None:
            answers.append(await hub.deliver("slack", "/unsafe/pub/acme/x"))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(deliver)
        assert hub.head == 1
        assert len({answer.headers["Hookbot-Message-Id"] for answer in answers}) == 1


async def test_a_replay_is_known_after_a_restart(tmp_path: Path, clock: Clock) -> None:
    async with open_whole_hub(tmp_path, source("slack"), store="sqlite:", clock=clock) as hub:
        first = await hub.deliver("slack", "/unsafe/pub/acme/x")
    async with open_whole_hub(tmp_path, source("slack"), store="sqlite:", clock=clock) as hub:
        again = await hub.post("/unsafe/pub/acme/x", first.request.content, first.request.headers.multi_items())
        assert again.headers["Hookbot-Message-Id"] == first.headers["Hookbot-Message-Id"]
        assert hub.head == 1


@pytest.mark.parametrize("store", ["memory:", "sqlite:"])
async def test_whoever_fills_the_unsafe_topics_does_not_make_a_replay_pass(
    tmp_path: Path, clock: Clock, store: str
) -> None:
    retention = Retention(max_unsafe_bytes=2000)
    async with open_whole_hub(tmp_path, source("slack"), store=store, retention=retention, clock=clock) as hub:
        first = await hub.deliver("slack", "/unsafe/pub/acme/x")
        while [message.topic for message in await hub.stored()][:1] == ["/unsafe/acme/x"]:
            assert (await hub.post("/unsafe/pub/flood", b"x" * 1000)).status_code == 200
        again = await hub.post("/unsafe/pub/acme/x", first.request.content, first.request.headers.multi_items())
        assert again.headers["Hookbot-Duplicate"] == "true"


async def test_an_id_that_is_not_signed_marks_a_repeat_and_does_not_drop_it(
    tmp_path: Path, ways: dict[str, Any]
) -> None:
    delivery = [("X-GitHub-Delivery", "72d3162e")]
    async with open_whole_hub(tmp_path, source("github"), **ways) as hub:
        first = await hub.deliver("github", "/unsafe/pub/acme/x", headers=delivery)
        again = await hub.deliver("github", "/unsafe/pub/acme/x", headers=delivery)
        await hub.deliver("github", "/unsafe/pub/acme/x", headers=[("X-GitHub-Delivery", "another")])
        assert "Hookbot-Duplicate" not in again.headers
        async with hub.listen("/unsafe/sub/acme/?since=all", "v1") as listener:
            heard = [envelope("v1", await taken(listener)) for _ in range(3)]
    ids = [first.headers["Hookbot-Message-Id"], None]
    assert [message.get("duplicate_of") for message in heard] == [None, ids[0], None]


async def test_equal_requests_are_two_unless_a_signature_is_for_single_use(
    tmp_path: Path, ways: dict[str, Any]
) -> None:
    text = source("github") + source("github", topic="/unsafe/once/", single_use=True)
    async with open_whole_hub(tmp_path, text, **ways) as hub:
        for topic, stored in (("acme", 2), ("once", 3)):
            for _ in range(2):
                answer = await hub.deliver("github", f"/unsafe/pub/{topic}/x")
                assert answer.status_code == 200
            assert hub.head == stored
        assert answer.headers["Hookbot-Duplicate"] == "true"


async def test_a_key_beside_a_signature_drops_nothing(tmp_path: Path, ways: dict[str, Any]) -> None:
    key = [("Idempotency-Key", "guessed")]
    async with open_whole_hub(tmp_path, source("github"), **ways) as hub:
        for body in (b"1", b"2", b"2"):
            assert (await hub.deliver("github", "/unsafe/pub/acme/x", body, key)).status_code == 200
        assert hub.head == 3


# --- who only asks


HANDSHAKES = {
    "meta": ("?hub.mode=subscribe&hub.verify_token=word&hub.challenge=1158201444", b"1158201444"),
    "x": (
        "?crc_token=abc",
        json.dumps(
            {"response_token": "sha256=" + b64encode(hmac.digest(SECRET.encode(), b"abc", "sha256")).decode()}
        ).encode(),
    ),
    "dropbox": ("?challenge=abc123", b"abc123"),
}


@pytest.mark.parametrize("provider", HANDSHAKES)
@pytest.mark.parametrize("path", ["/unsafe/pub/acme/x", "/pub/acme/x", "/acme/x"])
async def test_who_asks_by_get_is_answered_without_a_listener(
    tmp_path: Path, ways: dict[str, Any], monkeypatch: pytest.MonkeyPatch, provider: str, path: str
) -> None:
    monkeypatch.setenv("WORD", "word")
    query, expected = HANDSHAKES[provider]
    options: dict[str, Any] = {"verify_token": "env:WORD"} if provider == "meta" else {}
    text = "".join(source(provider, topic=topic, **options) for topic in ("/unsafe/acme/", "acme/"))
    async with open_whole_hub(tmp_path, text, **ways) as hub:
        safe = {"Authorization": f"Bearer {token(path)}"} if not path.startswith("/unsafe/") else {}
        answer = await hub.http.get(path + query, headers=safe)
        assert (answer.status_code, answer.content) == (200, expected)
        if safe:
            assert (await hub.http.get(path + query)).status_code == 401
        assert (await hub.http.get(f"{path}x{query}".replace("acme", "other"))).status_code in (401, 405)
        assert hub.head == 0


async def test_who_asks_with_a_wrong_word_is_refused_and_counted(
    tmp_path: Path, ways: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookbot.access")
    text = source("meta", verify_token="word")
    async with open_whole_hub(tmp_path, text, failure_rate=Rate(2, 60), **ways) as hub:
        path = "/unsafe/pub/acme/x?hub.mode=subscribe&hub.verify_token=guess&hub.challenge=1"
        answers = [await hub.http.get(path) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert [(one.__dict__["status"], one.__dict__["provider"]) for one in caplog.records] == [
        (401, "meta"),
        (401, "meta"),
        (429, "meta"),
    ]


async def test_who_asks_by_post_is_answered_without_a_listener(
    tmp_path: Path, ways: dict[str, Any], clock: Clock
) -> None:
    text = source("slack") + source("microsoft-graph", topic="/unsafe/graph/")
    async with open_whole_hub(tmp_path, text, clock=clock, **ways) as hub:
        answer = await hub.deliver("slack", "/unsafe/pub/acme/x", b'{"type": "url_verification", "challenge": "3eZb"}')
        assert (answer.status_code, answer.content) == (200, b"3eZb")
        answer = await hub.post("/unsafe/pub/graph/x?validationToken=a%20b")
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (
            200,
            b"a b",
            "text/plain; charset=utf-8",
        )
        assert hub.head == 0


@pytest.mark.parametrize("form", FORMATS)
async def test_a_topic_with_a_source_is_listened_to_as_any_other(
    tmp_path: Path, ways: dict[str, Any], form: str
) -> None:
    text = source("dropbox", topic="acme", allow_from=["192.0.2.0/24"])
    async with open_whole_hub(tmp_path, text, **ways) as hub:
        for path in ("/acme", "/sub/acme", "/acme?challenge=") if form == "raw" else ("/acme", "/sub/acme"):
            async with hub.listen(path, form, narrowed("only=sub")) as listener:
                assert listener.status in (101, 200)


# --- Amazon SNS, and what has to be fetched


@pytest.fixture
def web() -> Web:
    return Web(SNS.published())


@pytest.mark.parametrize("confirm", [False, True])
async def test_a_subscription_to_sns_is_stored_and_confirmed_where_that_is_allowed(
    tmp_path: Path, ways: dict[str, Any], clock: Clock, web: Web, confirm: bool
) -> None:
    url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336"
    web.pages[url] = b"<ok/>"
    async with open_whole_hub(
        tmp_path, source("aws-sns", secrets=[SNS_TOPIC], confirm=confirm), clock=clock, fetch=web.fetch, **ways
    ) as hub:
        answer = await hub.post("/unsafe/pub/acme/x", json.dumps(SNS.confirmation(NOW_S, url)).encode())
        assert answer.status_code == 200
        assert hub.head == 1
        assert (url in web.asked) is confirm


async def test_without_amazons_certificate_the_sender_is_asked_to_try_again(
    tmp_path: Path, ways: dict[str, Any], clock: Clock, web: Web
) -> None:
    web.pages.clear()
    async with open_whole_hub(
        tmp_path, source("aws-sns", secrets=[SNS_TOPIC]), clock=clock, fetch=web.fetch, **ways
    ) as hub:
        answer = await hub.post("/unsafe/pub/acme/x", json.dumps(SNS.message(NOW_S)).encode())
        assert answer.status_code == 503
        assert "cannot be fetched" in answer.text
        assert hub.head == 0
        web.pages.update(SNS.published())
        answer = await hub.post("/unsafe/pub/acme/x", json.dumps(SNS.message(NOW_S)).encode())
        assert (answer.status_code, hub.head) == (200, 1)


async def test_an_untrusted_client_cannot_have_a_hub_fetch_without_end(
    tmp_path: Path, ways: dict[str, Any], clock: Clock, web: Web
) -> None:
    async with open_whole_hub(
        tmp_path,
        source("aws-sns", secrets=[SNS_TOPIC]),
        failure_rate=Rate(10**6, 1),
        clock=clock,
        fetch=web.fetch,
        **ways,
    ) as hub:
        statuses = []
        for number in range(30):
            url = f"https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-{number}.pem"
            message = {**SNS.message(NOW_S), "SigningCertURL": url}
            statuses.append((await hub.post("/unsafe/pub/acme/x", json.dumps(message).encode())).status_code)
    assert statuses == [503] * 20 + [429] * 10
    assert len(web.asked) == 20


# --- from where


async def test_a_source_takes_what_comes_from_its_networks(tmp_path: Path, ways: dict[str, Any]) -> None:
    write_ranges(tmp_path / "ranges.json", {"acme": RangeList("", "", ("127.0.0.0/8",))})
    text = source("github", allow_from=["acme"]) + source("github", topic="/unsafe/far/", allow_from=["192.0.2.0/24"])
    async with open_whole_hub(tmp_path, text, **ways) as hub:
        assert (await hub.deliver("github", "/unsafe/pub/acme/x")).status_code == 200
        answer = await hub.deliver("github", "/unsafe/pub/far/x")
        assert (answer.status_code, answer.text) == (403, "127.0.0.1 may not publish here\n")
        forwarded = [("X-Forwarded-For", "192.0.2.7")]
        assert (await hub.deliver("github", "/unsafe/pub/far/x", headers=forwarded)).status_code == 403
        assert hub.head == 1


async def test_behind_a_proxy_the_address_is_the_one_that_it_tells(tmp_path: Path, ways: dict[str, Any]) -> None:
    text = source("github", allow_from=["192.0.2.0/24"])
    async with open_whole_hub(tmp_path, text, trusted_proxies=TrustedProxies.parse("127.0.0.0/8"), **ways) as hub:
        for forwarded, status in (("192.0.2.7", 200), ("192.0.2.7, 203.0.113.9", 403), ("203.0.113.9, 192.0.2.7", 200)):
            headers = [("X-Forwarded-For", forwarded)]
            answer = await hub.deliver("github", "/unsafe/pub/acme/x", headers=headers)
            assert answer.status_code == status, forwarded


# --- limits


async def test_a_source_may_take_smaller_bodies_only(tmp_path: Path, ways: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, source("github", max_body_bytes=1000), max_body_bytes=5000, **ways) as hub:
        assert (await hub.deliver("github", "/unsafe/pub/acme/x", b"x" * 1000)).status_code == 200

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(11):
                yield b"x" * 100

        for body in (b"x" * 1001, chunks()):
            # With the form of a signature, without which the size of the body does not matter.
            headers = {"X-Hub-Signature-256": "sha256=" + "0" * 64}
            answer = await hub.http.post("/unsafe/pub/acme/x", content=body, headers=headers)
            assert (answer.status_code, answer.text) == (413, "the body is larger than 1000 bytes\n")
        assert (await hub.post("/unsafe/pub/other", b"x" * 5000)).status_code == 200
        assert (await hub.post("/unsafe/pub/other", b"x" * 5001)).status_code == 413


async def test_publishes_are_counted_by_address_and_by_source(tmp_path: Path, ways: dict[str, Any]) -> None:
    text = source("github", publish_rate="2/h")
    async with open_whole_hub(tmp_path, text, publish_rate=Rate(4, 3600), **ways) as hub:
        statuses = [(await hub.deliver("github", "/unsafe/pub/acme/x", b"%d" % n)).status_code for n in range(3)]
        assert statuses == [200, 200, 429]
        answers = [await hub.post("/pub/x", b"", token=token("/pub/x")) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 429]
        assert 800 < int(answers[1].headers["Retry-After"]) <= 900
        assert hub.head == 3


@pytest.mark.parametrize(
    ("options", "replays"),
    [
        ({"provider": "square"}, [200, 200, 200]),
        ({"provider": "github", "single_use": True}, [200, 200, 200]),
        # These are stored.
        ({"provider": "github"}, [200, 200, 429]),
    ],
)
async def test_who_replays_a_delivery_cannot_use_up_the_rate_of_its_source(
    tmp_path: Path, ways: dict[str, Any], options: dict[str, Any], replays: list[int]
) -> None:
    async with open_whole_hub(tmp_path, source(**options, publish_rate="2/h"), **ways) as hub:
        provider = options["provider"]
        first = await hub.deliver(provider, "/unsafe/pub/acme/x", b'{"event_id":"1"}')
        for status in replays:
            again = await hub.post("/unsafe/pub/acme/x", first.request.content, first.request.headers.multi_items())
            assert again.status_code == status
        answers = [await hub.deliver(provider, "/unsafe/pub/acme/x", b'{"event_id":"%d"}' % n) for n in (2, 3)]
        assert [answer.status_code for answer in answers] == [200, 429]


async def test_who_fails_too_often_waits_and_a_good_token_or_signature_comes_in_all_the_same(
    tmp_path: Path, ways: dict[str, Any]
) -> None:
    async with open_whole_hub(tmp_path, source("github"), failure_rate=Rate(3, 60), **ways) as hub:
        answers = [await hub.post("/pub/x", b"", token="guess") for _ in range(2)]
        answers += [await hub.deliver("github", "/unsafe/pub/acme/x", secret="guess") for _ in range(2)]
        assert [answer.status_code for answer in answers] == [401, 401, 401, 429]
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 20
        for form in FORMATS:
            async with hub.listen("/sub/x", form, "guess") as listener:
                assert listener.status == 429, form
            async with hub.listen("/sub/x", form) as listener:
                assert listener.status in (101, 200), form
        assert (await hub.post("/pub/x", b"", token=token("/pub/x"))).status_code == 200
        assert (await hub.deliver("github", "/unsafe/pub/acme/x")).status_code == 200


@pytest.mark.parametrize("query", ["", "?since=all"])
@pytest.mark.parametrize("form", FORMATS)
async def test_there_are_only_so_many_subscribers(tmp_path: Path, ways: dict[str, Any], form: str, query: str) -> None:
    async with open_whole_hub(tmp_path, max_subscribers=3, max_subscribers_per_token=2, **ways) as hub:
        path = f"/sub/x{query}"
        async with hub.listen(path, form), hub.listen(path, "raw", narrowed("only=sub", path="/sub/x")):
            async with hub.listen(path, form) as third:
                assert third.status == 429
                assert int(third.headers["retry-after"]) > 0
            async with hub.listen(path, form, token("/sub/")) as another:
                assert another.status in (101, 200)
                async with hub.listen(path, form, token("/")) as too_many:
                    assert too_many.status == 429


@pytest.mark.parametrize("form", ["raw", "sse"])
async def test_a_crowd_that_comes_at_once_does_not_get_past_the_limit(
    tmp_path: Path, ways: dict[str, Any], form: str
) -> None:
    """Some may be admitted and closed at once: they waited between two checks of the limit."""
    async with open_whole_hub(tmp_path, max_subscribers=3, **ways) as hub:
        outcomes = []
        everybody = trio.Event()

        async def listen(task_status: Any) -> None:
            async with hub.listen("/sub/x?since=all", form) as listener:
                task_status.started()
                outcomes.append("heard" if listener.status != 429 and await listener.take() else "left")
                if len(outcomes) == 12:
                    everybody.set()
                await trio.sleep_forever()

        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as starting:
                for _ in range(12):
                    starting.start_soon(nursery.start, listen)
            await hub.post("/pub/x", b"1", token=token("/pub/x"))
            await everybody.wait()
            nursery.cancel_scope.cancel()
    assert sorted(outcomes) == ["heard"] * 3 + ["left"] * 9


# --- tokens that end, and show less


@pytest.mark.parametrize("form", FORMATS)
async def test_a_subscription_ends_with_its_token(
    tmp_path: Path, ways: dict[str, Any], clock: Clock, form: str
) -> None:
    async with open_whole_hub(tmp_path, clock=clock, **ways) as hub:
        soon, later = narrowed(f"expires={NOW_S + 60}"), narrowed(f"expires={NOW_S + 61}")
        async with hub.listen("/sub/x", form, soon) as ending, hub.listen("/sub/x", form, later) as staying:
            await hub.post("/pub/x", b"1", token=token("/pub/x"))
            assert await ending.take()
            clock.skip(seconds=60)
            assert await ending.closed() == (1008 if form not in ("sse", "jsonl") else None)
            await hub.post("/pub/x", b"2", token=token("/pub/x"))
            assert await staying.take()
            assert await staying.take()
        async with hub.listen("/sub/x", form, soon) as again:
            assert again.status == 401


@pytest.mark.parametrize("query", ["?cursor=deploy", "?group=deploy"])
async def test_an_acknowledged_subscription_ends_with_its_token(
    tmp_path: Path, ways: dict[str, Any], clock: Clock, query: str
) -> None:
    async with open_whole_hub(tmp_path, clock=clock, **ways) as hub:
        ends = narrowed(f"expires={NOW_S + 60}", "cursor=deploy")
        async with hub.listen(f"/sub/x{query}", "v1", ends) as ending:
            clock.skip(seconds=60)
            assert await ending.closed() == 1008


@pytest.mark.parametrize("form", FORMATS)
async def test_nothing_older_than_its_since_is_shown_by_a_token(
    tmp_path: Path, ways: dict[str, Any], clock: Clock, form: str
) -> None:
    async with open_whole_hub(tmp_path, clock=clock, **ways) as hub:
        for body, later_s in ((b"old", 0), (b"older than that", 1), (b"new", 9)):
            clock.skip(seconds=later_s)
            await hub.post("/pub/x", body, token=token("/pub/x"))
        shows = narrowed(f"since={NOW_S + 5}")
        for query in ("?since=all", "?since=2020-09-13T12:26:40Z"):
            async with hub.listen(f"/sub/x{query}", form, shows) as listener:
                heard = await taken(listener)
                assert b"new" in heard or b64encode(b"new") in heard
        if form in ("sse", "jsonl"):
            async with hub.listen("/sub/x?follow=0&order=newest", form, shows) as listener:
                assert b"new" in await taken(listener)
                assert await listener.take() is None


@pytest.mark.parametrize("form", FORMATS)
async def test_a_live_token_shows_no_history(tmp_path: Path, ways: dict[str, Any], form: str) -> None:
    async with open_whole_hub(tmp_path, **ways) as hub:
        first = await hub.post("/pub/x", b"old", token=token("/pub/x"))
        await hub.post("/pub/x", b"missed", token=token("/pub/x"))
        for query in ("?since=all", "?since=1h"):
            async with hub.listen(f"/sub/x{query}", form, narrowed("live=1")) as listener:
                assert listener.status == 403
        came = [("Last-Event-ID", first.headers["Hookbot-Message-Id"])]
        async with hub.listen("/sub/x", form, narrowed("live=1"), came) as back:
            await hub.post("/pub/x", b"new", token=token("/pub/x"))
            heard = await taken(back)
            assert b"new" in heard or b64encode(b"new") in heard


async def test_the_log_of_one_message_is_history_as_well(tmp_path: Path, ways: dict[str, Any]) -> None:
    async with open_whole_hub(tmp_path, sha1_tokens_live_only=True, **ways) as hub:
        stored = await hub.post("/pub/x", b"old", token=token("/pub/x"))
        path = f"/hookbot/v1/messages/{stored.headers['Hookbot-Message-Id']}"
        for shown, status in ((token("/"), 403), (narrowed("name=ann"), 403), (make_token(KEY, "/", "sha256"), 200)):
            answer = await hub.http.get(path, headers={"Authorization": f"Bearer {shown}"})
            assert answer.status_code == status


# --- a fingerprint, for those who read the log


async def test_a_reason_tells_what_was_signed_and_no_signature(
    tmp_path: Path, ways: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "hookbot.access")
    async with open_whole_hub(tmp_path, source("github"), **ways) as hub:
        answer = await hub.deliver("github", "/unsafe/pub/acme/x", b"body", secret="a guess")
    right = hmac.digest(SECRET.encode(), b"body", "sha256").hex()
    assert sha256(b"body").hexdigest() in answer.text
    assert sha256(b"body").hexdigest() in caplog.text
    assert right not in answer.text + caplog.text
