"""The scheme itself: what a user can say with it, and what it refuses."""

from dataclasses import replace
from typing import Any

import pytest

from hookbot.errors import BadSignature, ConfigError
from hookbot.signatures import Proof, SignedRequest, load_provider
from hookbot.signatures.scheme import MAX_SIGNATURES, Scheme
from support.signature_samples import BODY, NOW, SAMPLES, WHSEC, sample_id

SAMPLE = {sample_id(sample): sample for sample in SAMPLES}
SECRET = "correct-secret"


def verify(name: str, request: SignedRequest, *secrets: str, now: float = NOW, **options: Any) -> Proof:
    return load_provider(name, options).verify(request, secrets or [SECRET], now=now)


def sign(name: str, request: SignedRequest, now: float = NOW, **options: Any) -> SignedRequest:
    return load_provider(name, options).sign(request, SECRET, now=now)


def test_github_with_both_signatures_is_judged_by_sha_256() -> None:
    github = load_provider("github")
    assert isinstance(github, Scheme)
    assert github.fallback is not None
    both = github.fallback.sign(github.sign(SignedRequest(BODY), SECRET, now=NOW), SECRET, now=NOW)
    only_sha1 = both.without(["X-Hub-Signature-256"])
    wrong_sha256 = only_sha1.put("X-Hub-Signature-256", "sha256=" + "0" * 64)

    assert verify("github", both) == verify("github", only_sha1)
    with pytest.raises(BadSignature, match="X-Hub-Signature-256 is not the HMAC-SHA256"):
        verify("github", wrong_sha256)


def test_a_github_delivery_id_is_told_and_is_no_proof_against_replay() -> None:
    proof = verify("github", sign("github", SignedRequest(BODY, (("X-GitHub-Delivery", "72d3162e"),))))

    assert (proof.delivery_id, proof.replay_key) == ("72d3162e", None)


def test_of_several_signatures_one_has_to_be_right_and_those_of_other_versions_do_not_count() -> None:
    signed = sign("pagerduty", SignedRequest(BODY))
    right = signed.need("X-PagerDuty-Signature")
    wrong = "v1=" + "0" * 64

    assert verify("pagerduty", signed.put("X-PagerDuty-Signature", f"{wrong}, {right}")).key == 0
    with pytest.raises(BadSignature, match="no signature of the form v1=<hex>"):
        verify("pagerduty", signed.put("X-PagerDuty-Signature", right.replace("v1", "v2")))


def test_so_many_signatures_that_checking_them_would_be_work_are_not_all_looked_at() -> None:
    right = sign("pagerduty", SignedRequest(BODY)).need("X-PagerDuty-Signature")
    many = ",".join(["v1=" + "0" * 64] * MAX_SIGNATURES + [right])

    with pytest.raises(BadSignature):
        verify("pagerduty", SignedRequest(BODY, (("X-PagerDuty-Signature", many),)))


def test_bytes_cannot_move_from_the_body_into_the_id() -> None:
    body = b"1700000000.hello"
    signed = SAMPLE["standard-webhooks"].provider.sign(SignedRequest(body), WHSEC, now=NOW)
    moved = replace(signed, body=b"hello").put("webhook-id", f"{signed.need('webhook-id')}.1700000000")

    with pytest.raises(BadSignature, match=r"the id contains '\.'"):
        verify("standard-webhooks", moved, WHSEC)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"algorithm": "md5"}, "one of hmac-sha1, hmac-sha256"),
        ({"encoding": "text"}, "one of hex, base64"),
        ({"unit": "minutes"}, "one of s, ms, rfc3339"),
        ({"key_encoding": "rot13"}, "one of hex, base64, text"),
        ({"template": "constant"}, "no part of the request"),
        ({"template": "{body}{host}"}, "unknown {host}"),
        ({"template": "{timestamp}.{body}"}, "does not name its place"),
        ({"timestamp": "X-Time"}, "so it is not signed"),
        ({"id": "X-Id"}, "so it is not signed"),
        ({"header": "X Signature"}, "not a place"),
        ({"header": "json:a[b]"}, "not a place"),
        ({"max_age": 0}, "more than 0"),
        ({"max_age": float("nan")}, "more than 0"),
        ({"max_age": "300"}, "must be a float"),
        ({"max_age": True}, "must be a float"),
        ({"header": 5}, "must be a str"),
        ({"name": "other"}, "no option 'name'"),
        ({"fallback": None}, "no option 'fallback'"),
    ],
)
def test_options_that_cannot_be_are_an_error_of_the_configuration(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_provider("hmac", options)

    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("adyen", "not hex"),
        ("standard-webhooks", "whsec_***"),
        ("standard-webhooks", "whpk_AAAA"),
        ("discord", "abcd"),
        ("sendgrid", "AAAA"),
        ("basic", "no colon"),
        ("aws-sns", "MyTopic"),
        ("paypal", "a|b"),
        ("gitlab", ""),
        ("jwt", "short"),
        ("jwt", "-----BEGIN PUBLIC KEY-----"),
        ("jwt", '{"keys": []}'),
    ],
)
def test_a_secret_that_cannot_be_one_is_an_error_of_the_configuration_and_not_told(name: str, secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_provider(name).check(secret)

    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize(("name", "secret"), [("discord", "00" * 33), ("sendgrid", SAMPLE["sendgrid"].secret)])
def test_a_public_key_cannot_sign(name: str, secret: str) -> None:
    with pytest.raises(ConfigError, match="private key"):
        load_provider(name).sign(SignedRequest(BODY), secret, now=NOW)


def test_a_signature_that_belongs_into_the_body_wants_a_json_object() -> None:
    with pytest.raises(ConfigError, match="must be a JSON object"):
        load_provider("mailgun").sign(SignedRequest(b"text"), SECRET, now=NOW)
