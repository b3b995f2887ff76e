"""The scheme itself: what a user can say with it, and what it refuses."""

from dataclasses import replace
from typing import Any

import pytest

from hookbot.errors import BadSignature, ConfigError
from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.provider import Proof
from support.signature_samples import BODY, FORM, JSON, NOW, SAMPLES, WHSEC, sample_id

SAMPLE = {sample_id(sample): sample for sample in SAMPLES}
SECRET = "correct-secret"


def verify(name: str, request: SignedRequest, *secrets: str, now: float = NOW, **options: Any) -> Proof:
    return load_provider(name, options).verify(request, secrets or [SECRET], now=now)


def sign(name: str, request: SignedRequest, now: float = NOW, **options: Any) -> SignedRequest:
    return load_provider(name, options).sign(request, SECRET, now=now)


def test_github_with_both_signatures_is_judged_by_sha_256() -> None:
    github = load_provider("github")
    both = github.fallback.sign(github.sign(SignedRequest(BODY), SECRET, now=NOW), SECRET, now=NOW)
    only_sha1 = both.without(["X-Hub-Signature-256"])
    wrong_sha256 = only_sha1.put("X-Hub-Signature-256", "sha256=" + "0" * 64)

    assert verify("github", both) == verify("github", only_sha1)
    with pytest.raises(BadSignature, match="X-Hub-Signature-256 is not the HMAC-SHA256"):
        verify("github", wrong_sha256)


def test_a_github_delivery_id_is_told_and_is_no_proof_against_replay() -> None:
    proof = verify("github", sign("github", SignedRequest(BODY, (("X-GitHub-Delivery", "72d3162e"),))))

    assert (proof.delivery_id, proof.replay_key) == ("72d3162e", None)


def test_an_id_within_a_signed_body_tells_a_retry_that_was_signed_again() -> None:
    first, retry = (verify("stripe", sign("stripe", SignedRequest(BODY), now), now=now) for now in (NOW, NOW + 3600))

    assert first.replay_key == retry.replay_key == "evt_1"
    assert first.fingerprint != retry.fingerprint


def test_a_slack_command_has_no_id_and_is_told_by_what_was_signed() -> None:
    command = SignedRequest(b"command=%2Fdeploy", FORM)

    proofs = [verify("slack", sign("slack", command, now), now=now) for now in (NOW, NOW + 1)]

    assert [proof.replay_key for proof in proofs] == [proof.fingerprint for proof in proofs]
    assert proofs[0].replay_key != proofs[1].replay_key


def test_another_spelling_of_an_ecdsa_signature_is_the_same_delivery() -> None:
    sample = SAMPLE["sendgrid"]
    signed, again = sample.signed(), sample.signed()  # ECDSA is not deterministic

    assert signed != again
    assert len({sample.provider.verify(r, [sample.secret], now=NOW).replay_key for r in (signed, again)}) == 1


def test_of_several_signatures_one_has_to_be_right_and_those_of_other_versions_do_not_count() -> None:
    signed = sign("pagerduty", SignedRequest(BODY))
    right = signed.need("X-PagerDuty-Signature")
    wrong = "v1=" + "0" * 64

    assert verify("pagerduty", signed.put("X-PagerDuty-Signature", f"{wrong}, {right}")).key == 0
    with pytest.raises(BadSignature, match="no signature of the form v1=<hex>"):
        verify("pagerduty", signed.put("X-PagerDuty-Signature", right.replace("v1", "v2")))


def test_so_many_signatures_that_checking_them_would_be_work_are_not_all_looked_at() -> None:
    right = sign("pagerduty", SignedRequest(BODY)).need("X-PagerDuty-Signature")
    many = ",".join(["v1=" + "0" * 64] * 16 + [right])

    with pytest.raises(BadSignature):
        verify("pagerduty", SignedRequest(BODY, (("X-PagerDuty-Signature", many),)))


def test_docusign_sends_a_header_for_each_key() -> None:
    signed = sign("docusign", SignedRequest(BODY))
    right = signed.need("X-DocuSign-Signature-1")
    headers = (("X-DocuSign-Signature-1", "AAAA"), ("X-DocuSign-Signature-2", right))

    assert verify("docusign", SignedRequest(BODY, headers)).key == 0


def test_bytes_cannot_move_from_the_body_into_the_id() -> None:
    body = b"1700000000.hello"
    signed = SAMPLE["standard-webhooks"].provider.sign(SignedRequest(body), WHSEC, now=NOW)
    moved = replace(signed, body=b"hello").put("webhook-id", f"{signed.need('webhook-id')}.1700000000")

    with pytest.raises(BadSignature, match=r"the id contains '\.'"):
        verify("standard-webhooks", moved, WHSEC)


def test_gitea_signs_the_json_in_a_form_and_a_form_with_more_in_it_is_taken_as_it_is() -> None:
    signed = SAMPLE["gitea-form"].signed()

    assert verify("gitea", replace(signed, body=b"payload=%7b%22a%22:+1%7d"), SAMPLE["gitea"].secret).key == 0
    with pytest.raises(BadSignature):
        verify("gitea", replace(signed, body=signed.body + b"&more=1"), SAMPLE["gitea"].secret)


@pytest.mark.parametrize("name", ["square", "hubspot", "twilio"])
def test_the_address_is_covered_and_has_to_be_known(name: str) -> None:
    signed = SAMPLE[name].signed()

    with pytest.raises(BadSignature):
        verify(name, replace(signed, url=signed.url.replace("in", "out")), SAMPLE[name].secret)
    with pytest.raises(BadSignature, match=r"does not know the URL|'bodySHA256' is missing"):
        verify(name, replace(signed, url=""), SAMPLE[name].secret)


def test_hubspot_signs_some_escapes_decoded_and_others_not() -> None:
    request = SignedRequest(BODY, JSON, url="https://example.com/in?next=https%3A%2F%2Fa%20b")
    decoded = replace(request, url="https://example.com/in?next=https://a%20b")

    assert verify("hubspot", replace(sign("hubspot", decoded), url=request.url)).key == 0


def test_the_query_of_twilio_has_the_hash_of_a_body_that_is_no_form() -> None:
    signed = SAMPLE["twilio"].signed()

    with pytest.raises(BadSignature, match="'bodySHA256' is not the SHA-256 of the body"):
        verify("twilio", replace(signed, body=b"{}"), SAMPLE["twilio"].secret)
    with pytest.raises(BadSignature, match="'bodySHA256' is missing"):
        verify("twilio", SignedRequest(BODY, JSON, url="https://example.com/"))


def test_a_changed_field_of_a_mailgun_signature_is_refused_and_the_rest_is_not_covered() -> None:
    signed = SAMPLE["mailgun"].signed()
    token = signed.need("json:signature.token")
    secret = SAMPLE["mailgun"].secret

    with pytest.raises(BadSignature):
        verify("mailgun", replace(signed, body=signed.body.replace(token.encode(), b"other")), secret)
    elsewhere = replace(signed, body=signed.body.replace(b'"event-data":{}', b'"event-data":1'))
    assert verify("mailgun", elsewhere, secret).replay_key == token


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


def test_a_provider_has_only_options_that_change_something() -> None:
    with pytest.raises(ConfigError, match="github has no option 'max_age'"):
        load_provider("github", {"max_age": 5})
    with pytest.raises(ConfigError, match="gitlab has no option 'url'"):
        load_provider("gitlab", {"url": "x"})

    assert load_provider("slack", {"max_age": 5}).max_age == 5.0


def test_both_rules_of_standard_webhooks_obey_the_option() -> None:
    signed = SAMPLE["standard-webhooks"].signed()

    with pytest.raises(BadSignature, match="30 seconds ago; at most 10 are accepted"):
        verify("standard-webhooks", signed, WHSEC, now=NOW + 30, max_age=10)


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


@pytest.mark.parametrize("name", ["aws-sns", "paypal", "microsoft-graph"])
def test_who_alone_holds_the_key_cannot_be_imitated(name: str) -> None:
    with pytest.raises(ConfigError, match="only the sender has"):
        load_provider(name).sign(SignedRequest(BODY), "secret", now=NOW)


def test_a_signature_that_belongs_into_the_body_wants_a_json_object() -> None:
    with pytest.raises(ConfigError, match="must be a JSON object"):
        load_provider("mailgun").sign(SignedRequest(b"text"), SECRET, now=NOW)


@pytest.mark.parametrize(
    "timestamp", ["", "abc", "1e9", "-5", "٣", "99999999999999999", "1.5", " 1700000000", "1700000000\n", "0x10"]
)
def test_a_malformed_timestamp_is_refused(timestamp: str) -> None:
    headers = (("X-Slack-Request-Timestamp", timestamp), ("X-Slack-Signature", "v0=" + "0" * 64))
    signed = SignedRequest(b"", headers)
    slack = load_provider("slack")
    content = slack._content(signed) if timestamp else b""
    signed = signed.put("X-Slack-Signature", "v0=" + slack._algorithm.sign(SECRET.encode(), content).hex())

    with pytest.raises(BadSignature, match=r"timestamp is malformed|is empty"):
        verify("slack", signed)


@pytest.mark.parametrize("time", ["2023-11-14T22:13:20.123456789Z", "2023-11-14T23:13:20+01:00"])
def test_twitch_writes_nanoseconds(time: str) -> None:
    headers = (("Twitch-Eventsub-Message-Id", "1"), ("Twitch-Eventsub-Message-Timestamp", time))
    twitch = load_provider("twitch")
    digest = twitch._algorithm.sign(SECRET.encode(), f"1{time}".encode() + BODY).hex()
    request = SignedRequest(BODY, (*headers, ("Twitch-Eventsub-Message-Signature", f"sha256={digest}")))

    assert verify("twitch", request).signed_at == pytest.approx(NOW, abs=1)
