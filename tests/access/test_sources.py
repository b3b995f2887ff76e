"""The source of a topic, and what it makes of a request."""

import json
from collections.abc import Sequence
from hashlib import sha256
from ipaddress import ip_network
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from hookbot.access.sources import Source, Sources, Verification
from hookbot.errors import BadSignature, Forbidden
from hookbot.protocol.message import Headers, Once, Verified
from hookbot.protocol.request import Request
from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.aws_sns import AwsSns
from support.certificate_authority import SNS
from support.certificate_authority import TOPIC as SNS_TOPIC

NOW_S = 1_700_000_000.0
SECRET = "the secret of the tests, not too short"
NETWORKS = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))


def make_source(
    topic: str = "/unsafe/acme/",
    provider: str = "github",
    secrets: Sequence[str] = (SECRET,),
    options: dict[str, str] | None = None,
    **fields: Any,
) -> Source:
    return Source(topic, load_provider(provider, options), secrets, **fields)


def signed(
    provider: str,
    body: bytes = b"{}",
    secret: str = SECRET,
    headers: Headers = (),
    url: str = "http://hub/unsafe/pub/acme/x",
    now: float = NOW_S,
) -> SignedRequest:
    return load_provider(provider).sign(SignedRequest(body, headers, "POST", url), secret, now=now)


# --- finding


def test_for_a_topic_the_longest_match_counts() -> None:
    sources = Sources(
        make_source(topic) for topic in ("", "acme/", "acme/pay/", "acme/pay/now", "/unsafe/", "/unsafe/acme/")
    )

    def found(topic: str) -> str | None:
        source = sources.find(topic)
        return None if source is None else source.topic

    assert {topic: found(topic) for topic in ("x", "acme", "acme/", "acme/x", "acme/pay/x", "acme/pay/now")} == {
        "x": "",
        "acme": "",
        "acme/": "acme/",
        "acme/x": "acme/",
        "acme/pay/x": "acme/pay/",
        "acme/pay/now": "acme/pay/now",
    }
    assert {topic: found(topic) for topic in ("/unsafe/x", "/unsafe/acme", "/unsafe/acme/x/y")} == {
        "/unsafe/x": "/unsafe/",
        "/unsafe/acme": "/unsafe/",
        "/unsafe/acme/x/y": "/unsafe/acme/",
    }


def test_a_source_that_stays_keeps_its_activity_and_another_one_does_not() -> None:
    earlier = Sources([make_source("a"), make_source("b"), make_source("c")])
    for source in earlier:
        source.activity.accept(1, is_repeat=False)

    later = Sources([make_source("a", secrets=["another"]), make_source("b", "gitea"), make_source("d")]).after(earlier)

    assert [(source.topic, source.activity.accepted) for source in later] == [("a", 1), ("b", 0), ("d", 0)]
    found = later.find("a")
    assert found
    assert found.secrets == ["another"]


def test_a_topic_beneath_no_source_has_none() -> None:
    sources = Sources([make_source(topic="/unsafe/acme/")])
    for topic in ("acme/x", "/unsafe/acme", "/unsafe/acmee/x", "/unsafe/", ""):
        assert sources.find(topic) is None
    assert Sources().find("/unsafe/acme/x") is None


# --- from where


def test_a_source_takes_requests_from_its_networks_only() -> None:
    source = make_source(allow_from=NETWORKS)
    for inside in ("192.0.2.1", "2001:db8::1"):
        source.check_sender(inside, None)
    for outside in ("192.0.3.1", "2001:db9::1", "", "unknown"):
        with pytest.raises(Forbidden):
            source.check_sender(outside, None)
    make_source().check_sender("192.0.3.1", None)


def test_a_source_may_ask_for_a_certificate(certificate: Any) -> None:
    der = certificate.public_bytes(Encoding.DER)
    fingerprint = sha256(der).hexdigest()
    subject = certificate.subject.rfc4514_string()
    assert "CN=robot" in subject
    for told in (fingerprint, subject):
        source = make_source(certificates=["CN=another", told])
        source.check_sender("192.0.2.1", der)
        with pytest.raises(Forbidden):
            source.check_sender("192.0.2.1", None)
    for other in ("CN=robot", "CN=another", "ab" * 32):
        with pytest.raises(Forbidden):
            make_source(certificates=[other]).check_sender("192.0.2.1", der)


def test_each_source_has_the_target_at_which_its_sender_publishes() -> None:
    sources = Sources(make_source(topic) for topic in ("/unsafe/github.com/", "/unsafe/\u00e9", "acme"))

    assert list(sources.targets) == [b"/unsafe/pub/github.com/", b"/unsafe/pub/%C3%A9", b"/pub/acme"]


# --- what a request is


def test_a_signer_sees_the_address_that_it_was_given() -> None:
    headers = (("Host", "hub.internal:8080"),)
    request = Request("POST", b"/unsafe/pub/acme/x?a=%20b", headers)
    assert make_source().signed(request) == SignedRequest(
        b"", headers, "POST", "http://hub.internal:8080/unsafe/pub/acme/x?a=%20b"
    )
    secure = Request("POST", b"http://elsewhere/unsafe/pub/acme/x?a=%20b", headers, secure=True)
    assert make_source().signed(secure).url == "https://hub.internal:8080/unsafe/pub/acme/x?a=%20b"
    outside = make_source(url="https://hooks.example.com").signed(request)
    assert outside.url == "https://hooks.example.com/unsafe/pub/acme/x?a=%20b"


def verify(source: Source, request: SignedRequest) -> Verification:
    return source.verify(request, now_s=NOW_S)


def test_a_genuine_request_says_by_which_secret_it_was_signed_and_when() -> None:
    source = make_source(provider="stripe", secrets=["another", SECRET])
    assert verify(source, signed("stripe")).verified == Verified("stripe", "1", NOW_S, "/unsafe/acme/")
    github = verify(make_source(secrets=[SECRET]), signed("github"))
    assert github.verified == Verified("github", "0", None, "/unsafe/acme/")
    with pytest.raises(BadSignature):
        verify(source, signed("stripe", secret="neither"))


def test_a_genuine_request_about_another_owner_is_refused() -> None:
    own, foreign = (json.dumps({"repository": {"full_name": f"{owner}/app"}}).encode() for owner in ("Acme", "evil"))
    bound = make_source(owners=["acme"])
    assert verify(bound, signed("github", own)).verified.source == "/unsafe/acme/"
    with pytest.raises(Forbidden, match="evil/app"):
        verify(bound, signed("github", foreign))
    # The signature comes first: nobody learns from a guess whom the source belongs to.
    with pytest.raises(BadSignature):
        verify(bound, signed("github", foreign, secret="guessed"))
    assert verify(make_source(), signed("github", foreign))


ONCE = [
    # section, request, what makes a repeat of it
    ({"provider": "stripe"}, signed("stripe", b'{"id": "evt_1"}'), ("replay", True)),
    ({"provider": "slack"}, signed("slack"), ("replay", True)),
    ({"provider": "slack", "single_use": True}, signed("slack"), ("replay", True)),
    ({"provider": "github"}, signed("github", headers=(("X-GitHub-Delivery", "one"),)), ("delivery", False)),
    (
        {"provider": "github", "single_use": True},
        signed("github", headers=(("X-GitHub-Delivery", "one"),)),
        ("single use", True),
    ),
    ({"provider": "github"}, signed("github"), None),
]


@pytest.mark.parametrize(("section", "request_", "kind"), ONCE)
def test_what_makes_a_repeat_depends_on_what_was_signed(
    section: dict[str, Any], request_: SignedRequest, kind: tuple[str, bool] | None
) -> None:
    once = verify(make_source(**section), request_).once
    assert [(one.kind, one.topic, one.exclusive) for one in once] == (
        [(kind[0], "/unsafe/acme/", kind[1])] if kind else []
    )


def test_a_delivery_is_another_where_its_topic_belongs_to_another_source() -> None:
    keys = [verify(make_source(topic=topic, provider="slack"), signed("slack")).once for topic in ("a/", "b/")]
    assert keys[0] != keys[1]
    assert isinstance(keys[0][0], Once)


def test_what_is_secret_by_itself_is_taken_out() -> None:
    source = make_source(provider="header", options={"header": "query:key"})
    verification = verify(
        source, SignedRequest(b"", (), "POST", f"http://hub/x?a=1&key={SECRET}&b=2".replace(" ", "+"))
    )
    assert verification.stripped.query == "a=1&b=2"
    source = make_source(provider="header", options={"header": "X-Api-Key"})
    assert verify(source, SignedRequest(b"", (("x-api-key", SECRET), ("A", "1")))).stripped.headers == (("A", "1"),)


def test_nothing_is_fetched_for_a_sender_unless_that_is_allowed() -> None:
    url = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription"
    request = SignedRequest(json.dumps(SNS.confirmation(NOW_S, url)).encode())
    for confirm, found in ((False, None), (True, url)):
        source = make_source(provider="aws-sns", secrets=[SNS_TOPIC], confirm=confirm)
        assert isinstance(source.provider, AwsSns)
        source.provider.cache.update(SNS.published())
        assert verify(source, request).confirm_url == found


def test_a_challenge_is_answered_only_if_it_is_signed() -> None:
    body = b'{"type": "url_verification", "challenge": "3eZbrw1aB"}'
    source = make_source(provider="slack")

    response = source.handshake(signed("slack", body), now_s=NOW_S)

    assert response
    assert response.body == b"3eZbrw1aB"
    assert source.handshake(signed("slack", b"{}"), now_s=NOW_S) is None
    with pytest.raises(BadSignature):
        source.handshake(signed("slack", body, secret="another"), now_s=NOW_S)
