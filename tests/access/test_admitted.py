"""Admitted publishes: the draft, confirmation or response that each becomes with its body."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest

from hookbot.access.admitted import SECRET_HEADERS, Accepted, AdmittedPublish, Genuine
from hookbot.access.sources import Source
from hookbot.errors import BadSignature
from hookbot.protocol.message import Draft, Once, Verified
from hookbot.protocol.publish import PublishRequest
from hookbot.protocol.request import Request
from hookbot.protocol.response import Response
from hookbot.signatures import CertificateNeeded, SignedRequest, load_provider
from hookbot.signatures.aws_sns import AwsSns
from support.certificate_authority import SNS
from support.certificate_authority import TOPIC as SNS_TOPIC

NOW_S = 1_700_000_000.0
SECRET = "the secret of the tests"
CONFIRM = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=2336412f"


def request(*headers: Any, query: str = "", method: str = "POST") -> Request:
    return Request(method, b"/unsafe/pub/acme" + (f"?{query}".encode() if query else b""), (("Host", "hub"), *headers))


def publishing(provider: str, of: Request, *, secret: str = SECRET, **source: Any) -> AdmittedPublish:
    made = Source("/unsafe/acme", load_provider(provider), [secret], **source)
    return AdmittedPublish(PublishRequest(of, "/unsafe/acme"), source=made, signed=made.signed(of))


def signed(provider: str, body: bytes, *headers: Any, secret: str = SECRET) -> Request:
    made = load_provider(provider).sign(SignedRequest(body, (("Host", "hub"), *headers), "POST"), secret, now=NOW_S)
    return Request("POST", b"/unsafe/pub/acme", made.headers)


# --- without a source


def test_a_publish_is_what_came() -> None:
    of = request(("X-Odd", "\xe9"), ("x-odd", "2"), query="a=%20b&extra-metadata=github")
    admitted = AdmittedPublish(PublishRequest(of, "/unsafe/acme", hops=("github",)))
    assert admitted.accept(b"\xff\x00", now_s=NOW_S) == Draft(
        "/unsafe/acme",
        b"\xff\x00",
        (("Host", "hub"), ("X-Odd", "\xe9"), ("x-odd", "2")),
        "a=%20b&extra-metadata=github",
        hops=("github",),
    )


@pytest.mark.parametrize("name", sorted(SECRET_HEADERS))
def test_a_header_that_is_a_secret_by_itself_is_left_out(name: str) -> None:
    of = request((name.title(), "secret"), (f"{name}-2", "kept"))
    assert AdmittedPublish(PublishRequest(of, "x")).draft(b"").headers == (("Host", "hub"), (f"{name}-2", "kept"))


def test_only_the_hub_says_by_which_method_it_came() -> None:
    claims = ("Hookbot-Method", "GET"), ("hookbot-method", "DELETE")
    for method, said in (("POST", ()), ("GET", (("Hookbot-Method", "GET"),))):
        of = request(*claims, ("X-A", "1"), method=method)
        assert AdmittedPublish(PublishRequest(of, "x")).draft(b"").headers == (("Host", "hub"), ("X-A", "1"), *said)


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("token=secret", ""),
        ("a=1&token=secret&b=%2f+", "a=1&b=%2f+"),
        ("tok%65n=secret&a", "a"),
        ("token", ""),
        ("mytoken=1&tokens=2", "mytoken=1&tokens=2"),
        ("a=token", "a=token"),
    ],
)
def test_a_token_in_the_query_is_left_out_and_all_else_stays_as_it_is(query: str, kept: str) -> None:
    assert AdmittedPublish(PublishRequest(request(query=query), "x")).draft(b"").query == kept


def test_a_key_makes_a_repeat_known_with_its_body() -> None:
    [once] = AdmittedPublish(PublishRequest(request(), "x", idempotency_key="k")).draft(b"one").once
    [other] = AdmittedPublish(PublishRequest(request(), "x", idempotency_key="k")).draft(b"two").once
    assert (once.kind, once.topic, once.key, once.exclusive) == ("idempotency", "x", "k", True)
    assert once.fingerprint
    assert replace(other, fingerprint=once.fingerprint) == once
    assert other != once


# --- with one


def test_a_genuine_publish_says_who_it_is_from_and_keeps_what_a_listener_needs_to_check_again() -> None:
    body = b'{"zen": "Keep it logically awesome."}'
    of = signed("github", body, ("X-GitHub-Delivery", "one"))
    genuine = publishing("github", of).accept(body, now_s=NOW_S)
    assert isinstance(genuine, Genuine)
    assert genuine.signed == sha256(body).hexdigest()
    draft = genuine.draft
    assert draft.verified == Verified("github", "0", source="/unsafe/acme")
    assert draft.once == (Once("delivery", "/unsafe/acme", "one", exclusive=False),)
    again = SignedRequest(draft.body, draft.headers)
    assert load_provider("github").verify(again, [SECRET], now=NOW_S).key == 0


@pytest.mark.parametrize("body", [b"{}", b"", b"{ }"])
def test_what_is_not_genuine_is_no_draft(body: bytes) -> None:
    of = signed("github", b'{"a": 1}')
    with pytest.raises(BadSignature):
        publishing("github", of).accept(body, now_s=NOW_S)


def test_a_question_is_answered_and_is_no_draft() -> None:
    body = b'{"type": "url_verification", "challenge": "3eZbrw1aB"}'
    reply = publishing("slack", signed("slack", body)).accept(body, now_s=NOW_S)
    assert isinstance(reply, Response)
    assert reply.body == b"3eZbrw1aB"


def test_what_makes_a_repeat_is_signed_and_no_header_that_anybody_could_have_written() -> None:
    of = signed("slack", b"{}", ("Idempotency-Key", "k"))
    admitted = publishing("slack", of)
    admitted.request.idempotency_key = "k"
    genuine = admitted.accept(b"{}", now_s=NOW_S)
    assert isinstance(genuine, Genuine)
    [once] = genuine.draft.once
    assert (once.kind, once.topic) == ("replay", "/unsafe/acme")


def test_the_secret_of_a_sender_is_left_out_wherever_it_stood() -> None:
    of = request(("X-Gitlab-Token", SECRET), ("X-Gitlab-Event", "Push Hook"))
    genuine = publishing("gitlab", of).accept(b"{}", now_s=NOW_S)
    assert isinstance(genuine, Genuine)
    assert genuine.signed is None
    assert genuine.draft.headers == (("Host", "hub"), ("X-Gitlab-Event", "Push Hook"))

    source = Source("/unsafe/acme", load_provider("header", {"header": "query:key"}), [SECRET])
    of = request(query=f"a=b&key={quote(SECRET)}&token=c")
    publish = PublishRequest(of, "/unsafe/acme")
    genuine = AdmittedPublish(publish, source=source, signed=source.signed(of)).accept(b"{}", now_s=NOW_S)
    assert isinstance(genuine, Genuine)
    assert genuine.draft.query == "a=b"


# --- certificates and confirmations


def sns(message: dict[str, str], **source: Any) -> Accepted:
    of = publishing("aws-sns", request(), secret=SNS_TOPIC, **source)
    assert of.source
    assert isinstance(of.source.provider, AwsSns)
    of.source.provider.cache.update(SNS.published())
    return of.accept(json.dumps(message).encode(), now_s=NOW_S)


def test_a_certificate_that_is_needed_is_asked_for() -> None:
    of = publishing("aws-sns", request(), secret=SNS_TOPIC)
    with pytest.raises(CertificateNeeded):
        of.accept(json.dumps(SNS.message(NOW_S)).encode(), now_s=NOW_S)


def test_a_confirmation_is_stored_and_confirmed_only_where_that_is_allowed() -> None:
    message = SNS.confirmation(NOW_S, CONFIRM)
    asked, stored = sns(message, confirm=True), sns(message)
    assert isinstance(asked, Genuine)
    assert isinstance(stored, Genuine)
    assert (asked.confirm_url, stored.confirm_url) == (CONFIRM, None)
    assert asked.draft == stored.draft
    assert asked.draft.verified == Verified("aws-sns", "0", NOW_S, "/unsafe/acme")
