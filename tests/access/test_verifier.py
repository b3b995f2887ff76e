"""Verifying requests: threads, certificates that are fetched, confirmations, failures and what genuine ones count."""

import json
from contextlib import nullcontext
from typing import Any

import pytest
import trio

from hookbot.access.admitted import AdmittedPublish
from hookbot.access.authorizer import Authorizer
from hookbot.access.client_address import TrustedProxies
from hookbot.access.control import AccessControl
from hookbot.access.fetching import Fetches
from hookbot.access.quotas import Quota, Quotas
from hookbot.access.rate_limits import Rate, RateLimiter
from hookbot.access.senders import RETRIED_S, Standing
from hookbot.access.sources import Source, Sources
from hookbot.access.verifier import SMALL_BODY, VERIFYING_THREADS, Verifier
from hookbot.errors import BadSignature, BodyTooLarge, QuotaReached, TooManyRequests, Unavailable
from hookbot.log.trusted_clock import STEADY_US, TrustedClock
from hookbot.protocol.bodies import UNVERIFIED
from hookbot.protocol.envelope import LARGE_BODY
from hookbot.protocol.message import Draft
from hookbot.protocol.request import Request
from hookbot.protocol.response import Response
from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.scheme import Scheme
from support import KEY
from support.certificate_authority import SNS, SNS_CERTIFICATE
from support.certificate_authority import TOPIC as SNS_TOPIC
from support.clients import basic
from support.fast_path import settled
from support.web import Web

NOW_S = 1_700_000_000
SECRET = "the secret of the tests"
CONFIRM = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=2336412f"


@pytest.fixture
def web() -> Web:
    return Web({**SNS.published(), CONFIRM: b"<ConfirmSubscriptionResponse/>"})


@pytest.fixture(params=["in a task", "at once"], autouse=True)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test is made twice, since `verify_now` must do what `verify` does wherever it need not wait."""
    verify = Verifier.verify

    async def verify_at_once(verifier: Verifier, admitted: AdmittedPublish, body: bytes) -> Draft | Response:
        return verifier.verify_now(admitted, body) or await verify(verifier, admitted, body)

    if request.param == "at once":
        monkeypatch.setattr(Verifier, "verify", verify_at_once)


def make_access(*sources: Source, web: Web | None = None, **options: Any) -> AccessControl:
    fetches = Fetches(web.fetch, Rate(3, 60)) if web else None
    options = {"clock_us": lambda: NOW_S * 1_000_000, **options}
    return AccessControl(Authorizer([KEY]), sources=Sources(sources), fetches=fetches, **options)


def github(**options: Any) -> Source:
    return Source("/unsafe/acme", load_provider("github"), [SECRET], **options)


def sns(**options: Any) -> Source:
    return Source("/unsafe/acme", load_provider("aws-sns", {}), [SNS_TOPIC], **options)


async def publish(
    access: AccessControl,
    body: bytes,
    headers: tuple[Any, ...] = (),
    client: str = "192.0.2.1",
    path: bytes = b"/unsafe/pub/acme",
) -> Draft | Response:
    request = Request("POST", path, (("Host", "hub"), *headers), client=client)
    return await access.verifier.verify(access.admit_publish(request), body)


async def publish_signed(
    access: AccessControl, body: bytes = b"{}", secret: str = SECRET, client: str = "192.0.2.1"
) -> Draft:
    signed = load_provider("github").sign(SignedRequest(body), secret, now=NOW_S)
    draft = await publish(access, body, signed.headers, client)
    assert isinstance(draft, Draft)
    return draft


@pytest.mark.parametrize("size", [10, LARGE_BODY, LARGE_BODY + 1, 1 << 20])
async def test_a_body_of_any_size_is_verified(size: int) -> None:
    access = make_access(github())
    draft = await publish_signed(access, b"x" * size)
    assert draft.verified
    assert draft.verified.provider == "github"
    with pytest.raises(BadSignature):
        await publish_signed(access, b"x" * size, secret="another")


@pytest.mark.parametrize("jump_s", [30 * 86_400, -30 * 86_400])
async def test_a_signature_is_fresh_by_the_hubs_time_or_by_a_clock_ahead_of_it(jump_s: int) -> None:
    shown_s = [NOW_S]
    clock = TrustedClock(lambda: shown_s[0] * 1_000_000, lambda: NOW_S * 1_000_000)
    slack = load_provider("slack")
    access = make_access(Source("/unsafe/acme", slack, [SECRET]), clock_us=clock)

    async def publish_at(now_s: int) -> Draft | Response:
        return await publish(access, b"{}", slack.sign(SignedRequest(b"{}"), SECRET, now=now_s).headers)

    with pytest.raises(BadSignature):
        await publish_at(NOW_S + jump_s)
    shown_s[0] += jump_s
    assert isinstance(await publish_at(NOW_S), Draft)
    with pytest.raises(BadSignature):
        await publish_at(NOW_S + jump_s // 2)
    # A clock that was set back must not make an old signature fresh again.
    with nullcontext() if jump_s > 0 else pytest.raises(BadSignature):
        assert isinstance(await publish_at(NOW_S + jump_s), Draft)


async def test_what_came_long_ago_is_not_fresh_again_when_the_clock_is_set_back_for_good() -> None:
    passed_s, back_s = [0], [0]
    clock = TrustedClock(
        lambda: (NOW_S + passed_s[0] - back_s[0]) * 1_000_000, lambda: (NOW_S + passed_s[0]) * 1_000_000
    )
    slack = load_provider("slack")
    access = make_access(Source("/unsafe/acme", slack, [SECRET]), clock_us=clock)
    headers = slack.sign(SignedRequest(b"{}"), SECRET, now=NOW_S).headers
    assert isinstance(await publish(access, b"{}", headers), Draft)
    assert isinstance(await publish(access, b"{}", headers), Draft)

    passed_s[0], back_s[0] = RETRIED_S, RETRIED_S + STEADY_US // 1_000_000
    clock()
    passed_s[0] = back_s[0]
    assert clock() == NOW_S * 1_000_000

    with pytest.raises(BadSignature, match=f"came {passed_s[0]} seconds ago, so that its signature cannot be fresh"):
        await publish(access, b"{}", headers)
    assert isinstance(await publish(access, b"[]", slack.sign(SignedRequest(b"[]"), SECRET, now=NOW_S).headers), Draft)


async def test_a_sender_whose_signatures_are_fresh_for_days_may_repeat_a_request_for_as_long() -> None:
    passed_s = [0]
    clock = TrustedClock(lambda: (NOW_S + passed_s[0]) * 1_000_000, lambda: (NOW_S + passed_s[0]) * 1_000_000)
    slack = load_provider("slack", {"max_age": 3 * RETRIED_S})
    access = make_access(Source("/unsafe/acme", slack, [SECRET]), clock_us=clock)
    headers = slack.sign(SignedRequest(b"{}"), SECRET, now=NOW_S).headers
    for passed_s[0] in (0, 2 * RETRIED_S, 3 * RETRIED_S):
        assert isinstance(await publish(access, b"{}", headers), Draft)


async def test_a_large_body_does_not_hold_up_the_loop() -> None:
    github = load_provider("github")

    class Seen(type(github)):  # type: ignore[misc]
        def verify(self, request: SignedRequest, secrets: list[str], *, now: float) -> Any:
            threads.append(trio.lowlevel.in_trio_task())
            return super().verify(request, secrets, now=now)

    threads: list[bool] = []
    provider = Seen(name="github", documentation="", header="X-Hub-Signature-256", prefix="sha256=")
    access = make_access(Source("/unsafe/acme", provider, [SECRET]))
    await publish_signed(access, b"x" * LARGE_BODY)
    await publish_signed(access, b"x" * (LARGE_BODY + 1))
    assert threads == [True, False]


async def test_a_body_that_has_to_be_parsed_does_not_hold_up_the_loop_either() -> None:
    class Seen(Scheme):
        def value(self, part: str, request: SignedRequest) -> str | bytes:
            threads.append(trio.lowlevel.in_trio_task())
            return super().value(part, request)

    threads: list[bool] = []
    access = make_access(Source("/unsafe/acme", Seen(name="seen", documentation="", template="{payload}"), [SECRET]))
    for size in (SMALL_BODY, SMALL_BODY + 1):
        with pytest.raises(BadSignature):
            await publish(access, b"x" * size, (("X-Signature", "00" * 32),))
    assert threads == [True, False]


@pytest.mark.parametrize(("provider", "threads"), [("github", "hashing"), ("adyen", "parsing")])
async def test_unknown_senders_wait_for_one_another_and_nobody_else_waits_for_them(provider: str, threads: str) -> None:
    sources = [Source(topic, load_provider(provider), [SECRET.encode().hex()]) for topic in ("/unsafe/acme", "acme")]
    access = make_access(*sources)
    taken: trio.CapacityLimiter = getattr(access.verifier, threads)
    for number in range(VERIFYING_THREADS):
        taken.acquire_on_behalf_of_nowait(number)
    body, signature = b" " * (LARGE_BODY + 1), (("X-Hub-Signature-256", "sha256=" + "00" * 32),)
    with_token = (*signature, ("Authorization", f"Basic {basic('/pub/acme')}"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish, access, body, signature)
        await settled(lambda: taken.statistics().tasks_waiting)
        with pytest.raises(BadSignature):
            await publish(access, body, with_token, path=b"/pub/acme")
        # As if the client were gone.
        nursery.cancel_scope.cancel()
    assert taken.statistics().tasks_waiting == 0


async def test_a_body_beyond_the_ceiling_is_refused_before_it_is_parsed() -> None:
    access = make_access(sns())
    with pytest.raises(BodyTooLarge):
        await publish(access, b" " * UNVERIFIED.json_bytes + b"0")


async def test_a_publish_without_a_source_is_what_it_is() -> None:
    assert await publish(make_access(), b"{}") == Draft("/unsafe/acme", b"{}", (("Host", "hub"),))


@pytest.mark.parametrize(
    ("headers", "body", "waits"),
    [
        ((), bytes(LARGE_BODY + 1), False),
        ((("Idempotency-Key", "a"),), bytes(LARGE_BODY), False),
        ((("Idempotency-Key", "a"),), bytes(LARGE_BODY + 1), True),
    ],
)
async def test_a_publish_without_a_source_waits_only_while_a_large_body_is_hashed(
    headers: tuple[Any, ...], body: bytes, waits: bool
) -> None:
    access = make_access()
    admitted = access.admit_publish(Request("POST", b"/unsafe/pub/acme", (("Host", "hub"), *headers)))
    assert (access.verifier.verify_now(admitted, body) is None) is waits


@pytest.mark.parametrize(
    ("source", "request_", "waits"),
    [
        (github(), load_provider("github").sign(SignedRequest(bytes(LARGE_BODY)), SECRET, now=NOW_S), False),
        (github(), load_provider("github").sign(SignedRequest(bytes(LARGE_BODY + 1)), SECRET, now=NOW_S), True),
        (sns(), SignedRequest(json.dumps(SNS.message(NOW_S)).encode()), True),
    ],
)
async def test_a_signature_is_verified_at_once_unless_a_thread_or_a_fetch_is_needed(
    source: Source, request_: SignedRequest, waits: bool, web: Web
) -> None:
    access = make_access(source, web=web)
    request = Request("POST", b"/unsafe/pub/acme", (("Host", "hub"), *request_.headers))
    assert (access.verifier.verify_now(access.admit_publish(request), request_.body) is None) is waits
    assert web.asked == []


async def test_a_question_is_answered() -> None:
    access = make_access(Source("/unsafe/acme", load_provider("slack"), [SECRET]))
    body = b'{"type": "url_verification", "challenge": "c"}'
    signed = load_provider("slack").sign(SignedRequest(body), SECRET, now=NOW_S)
    assert isinstance(await publish(access, body, signed.headers), Response)


# --- who fails, and who sends too much


async def test_whoever_fails_too_often_waits_but_what_is_genuine_comes_in() -> None:
    access = make_access(github(), failures=Rate(2, 60))
    for _ in range(2):
        with pytest.raises(BadSignature):
            await publish_signed(access, secret="a guess")
    with pytest.raises(TooManyRequests) as refused:
        await publish_signed(access, secret="a guess")
    assert refused.value.retry_after_s == 30
    assert await publish_signed(access)
    with pytest.raises(BadSignature):
        await publish_signed(access, secret="a guess", client="192.0.2.2")


async def test_a_source_publishes_so_often_and_forgeries_do_not_count() -> None:
    access = make_access(github(publishes=RateLimiter(Rate(2, 60), "publishes")))
    for _ in range(5):
        with pytest.raises(BadSignature):
            await publish_signed(access, secret="a guess")
    for body in (b"1", b"2"):
        assert await publish_signed(access, body)
    with pytest.raises(TooManyRequests):
        await publish_signed(access, b"3", client="192.0.2.3")


async def test_repeats_use_up_no_more_than_their_network_may_repeat() -> None:
    access = make_access(github(publishes=RateLimiter(Rate(2, 60), "publishes")))
    await publish_signed(access, b"1")
    for client in ("203.0.113.8", "203.0.113.9"):
        for _ in range(2):
            await publish_signed(access, b"1", client=client)
        with pytest.raises(TooManyRequests):
            await publish_signed(access, b"1", client=client)

    assert await publish_signed(access, b"2", client="203.0.113.9")
    with pytest.raises(TooManyRequests):
        await publish_signed(access, b"3")


@pytest.mark.parametrize(("provider", "repeats_count"), [("slack", False), ("github", True)])
async def test_a_quota_counts_what_is_genuine_and_may_be_stored(provider: str, repeats_count: bool) -> None:
    quota = Quota("/unsafe/", {"publishes": Rate(9, 3600), "bytes": Rate(900, 3600)}, {"publishes": "", "bytes": ""})
    source = Source("/unsafe/acme", load_provider(provider), [SECRET])
    access = make_access(source, quotas=Quotas([quota]))
    headers = source.provider.sign(SignedRequest(b"[1, 2]"), SECRET, now=NOW_S).headers

    for _ in range(3):
        await publish(access, b"[1, 2]", headers)
    with pytest.raises(BadSignature):
        await publish(access, b"[1, 3]", headers)

    counted = 3 if repeats_count else 1
    assert [round(use.used) for use in quota.uses((), now_s=access._clock.monotonic_s)] == [counted, 6 * counted]


async def test_what_is_beyond_a_quota_is_refused_before_it_is_verified() -> None:
    quota = Quota("/unsafe/", {"publishes": Rate(1, 3600)}, {"publishes": "1/h"})
    access = make_access(Source("/unsafe/acme", load_provider("github"), [SECRET]), quotas=Quotas([quota]))
    await publish_signed(access, b"1")
    for body in (b"1", b"2"):
        with pytest.raises(QuotaReached, match="the quota of '/unsafe/' is reached: publishes = 1/h"):
            await publish_signed(access, body)


async def test_a_delivery_that_had_to_wait_is_new_when_it_comes_again() -> None:
    now_s = [float(NOW_S)]
    access = make_access(
        github(publishes=RateLimiter(Rate(1, 60), "publishes")), clock_us=lambda: int(now_s[0] * 1_000_000)
    )
    await publish_signed(access, b"1")
    for _ in range(2):
        with pytest.raises(TooManyRequests):
            await publish_signed(access, b"2")
    now_s[0] += 60
    await publish_signed(access, b"2")
    with pytest.raises(TooManyRequests):
        await publish_signed(access, b"3")


@pytest.mark.parametrize("provider", ["gitlab", "basic", "header"])
async def test_who_shows_a_secret_repeats_nothing(provider: str) -> None:
    secret = "user:a secret of the tests"
    source = Source("/unsafe/acme", load_provider(provider), [secret], publishes=RateLimiter(Rate(2, 60), "publishes"))
    access = make_access(source)
    headers = load_provider(provider).sign(SignedRequest(b"{}"), secret, now=NOW_S).headers
    for _ in range(2):
        await publish(access, b"{}", headers)
    with pytest.raises(TooManyRequests):
        await publish(access, b"{}", headers)


# --- certificates


async def test_a_certificate_is_fetched_once(web: Web) -> None:
    access = make_access(sns(), web=web)
    body = json.dumps(SNS.message(NOW_S)).encode()
    for _ in range(3):
        draft = await publish(access, body)
        assert isinstance(draft, Draft)
        assert draft.verified
        assert draft.verified.provider == "aws-sns"
    assert web.asked == [SNS_CERTIFICATE]


async def test_many_at_once_wait_for_one_certificate(web: Web) -> None:
    access = make_access(sns(), web=web)
    body = json.dumps(SNS.message(NOW_S)).encode()
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(publish, access, body)
    assert web.asked == [SNS_CERTIFICATE]


async def test_without_the_certificate_the_sender_is_asked_to_try_again(web: Web) -> None:
    access = make_access(sns(), web=web)
    body = json.dumps(SNS.message(NOW_S)).encode()
    del web.pages[SNS_CERTIFICATE]
    with pytest.raises(Unavailable, match="cannot be fetched"):
        await publish(access, body)
    web.pages.update(SNS.published())
    assert await publish(access, body)


async def test_an_untrusted_client_cannot_have_the_hub_fetch_without_end(web: Web) -> None:
    access = make_access(sns(), web=web)

    async def forge(number: int) -> None:
        message = {
            **SNS.message(NOW_S),
            "SigningCertURL": f"https://sns.us-east-1.amazonaws.com/SimpleNotificationService-{number}.pem",
        }
        await publish(access, json.dumps(message).encode(), client="203.0.113.9")

    for number in range(3):
        with pytest.raises(Unavailable):
            await forge(number)
    for number in range(3, 9):
        with pytest.raises(TooManyRequests):
            await forge(number)
    assert len(web.asked) == 3
    assert await publish(access, json.dumps(SNS.message(NOW_S)).encode())


async def test_what_is_at_a_certificates_address_and_is_none_is_a_bad_signature(web: Web) -> None:
    access = make_access(sns(), web=web)
    web.pages[SNS_CERTIFICATE] = b"<html>"
    with pytest.raises(BadSignature, match="no certificate"):
        await publish(access, json.dumps(SNS.message(NOW_S)).encode())


# --- confirmations


async def test_a_subscription_is_confirmed_where_that_is_allowed_and_stored_either_way(web: Web) -> None:
    body = json.dumps(SNS.confirmation(NOW_S, CONFIRM)).encode()
    assert isinstance(await publish(make_access(sns(), web=web), body), Draft)
    assert CONFIRM not in web.asked
    assert isinstance(await publish(make_access(sns(confirm=True), web=web), body), Draft)
    assert web.asked[-1] == CONFIRM


async def test_a_subscription_that_cannot_be_confirmed_is_asked_for_again(web: Web) -> None:
    access = make_access(sns(confirm=True), web=web)
    del web.pages[CONFIRM]
    with pytest.raises(Unavailable):
        await publish(access, json.dumps(SNS.confirmation(NOW_S, CONFIRM)).encode())


async def test_nothing_is_fetched_for_a_forged_confirmation(web: Web) -> None:
    access = make_access(sns(confirm=True), web=web)
    message = {**SNS.confirmation(NOW_S, CONFIRM), "Message": "another"}
    with pytest.raises(BadSignature):
        await publish(access, json.dumps(message).encode())
    assert CONFIRM not in web.asked


# --- what is known of a sender before its body


async def test_a_sender_without_a_token_is_unknown_until_verified_from_this_network() -> None:
    access = make_access(github())
    with pytest.raises(BadSignature):
        await publish_signed(access, secret="a guess", client="2001:db8::1")
    assert access.verifier.standing("2001:db8::/64") is Standing.UNKNOWN

    await publish_signed(access, client="2001:db8::1")

    assert access.verifier.standing("2001:db8::/64") is Standing.VERIFIED
    assert access.verifier.standing("2001:db8:1::/64") is Standing.UNKNOWN


@pytest.mark.parametrize("options", [{}, {"single_use": True}])
async def test_who_repeats_a_delivery_is_as_unknown_as_before(options: dict[str, Any]) -> None:
    access = make_access(github(**options))
    await publish_signed(access)

    signed = load_provider("github").sign(SignedRequest(b"{}"), SECRET, now=NOW_S).headers
    repeat = Request("POST", b"/unsafe/pub/acme", (("X-GitHub-Delivery", "another"), *signed), client="203.0.113.9")
    await access.verifier.verify(access.admit_publish(repeat), b"{}")

    assert not repeat.authenticated
    assert access.verifier.standing("203.0.113.9") is Standing.UNKNOWN
    assert access.verifier.standing("192.0.2.1") is Standing.VERIFIED


async def test_what_a_source_accepts_and_its_repeats_are_counted_also_over_a_reload() -> None:
    access = make_access(github(), Source("/unsafe/x", load_provider("github"), [SECRET]))
    await publish_signed(access)
    await publish_signed(access)
    with pytest.raises(BadSignature):
        await publish_signed(access, secret="another")
    access.adopt(make_access(github(), Source("/unsafe/x", load_provider("gitea"), [SECRET])))
    await publish_signed(access, b"[]")

    told = {source.topic: (source.activity.accepted, source.activity.duplicates) for source in access.sources}
    assert told == {"/unsafe/acme": (2, 1), "/unsafe/x": (0, 0)}


async def test_a_publish_that_nobody_signs_makes_no_network_known() -> None:
    access = make_access()
    await publish(access, b"{}")
    assert access.verifier.standing("192.0.2.1") is Standing.UNKNOWN


async def test_a_reload_does_not_forget_who_was_verified() -> None:
    access = make_access(github())
    await publish_signed(access)
    access.adopt(make_access(github()))
    assert access.verifier.standing("192.0.2.1") is Standing.VERIFIED


async def test_a_request_from_a_verified_network_is_known_before_it_is_admitted() -> None:
    access = make_access(github(), proxies=TrustedProxies(count=1))
    await publish_signed(access, client="192.0.2.7")

    request = Request("POST", b"/unsafe/pub/acme", (("X-Forwarded-For", "192.0.2.7"),), client="10.0.0.1")
    assert access.standing(request) is Standing.VERIFIED
    assert request.client == "10.0.0.1"
    assert access.standing(Request("POST", b"/unsafe/pub/acme", (), client="192.0.2.8")) is Standing.UNKNOWN
