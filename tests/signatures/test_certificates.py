"""Amazon SNS and PayPal: a pinned address, a certificate to trust, and what it signed."""

import json
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from hookbot.errors import BadSignature, ConfigError, Unavailable
from hookbot.signatures import CertificateNeeded, SignedRequest, load_provider
from hookbot.signatures.provider import Proof
from support.certificate_authority import PAYPAL, PAYPAL_CERTIFICATE, SNS, SNS_CERTIFICATE, TOPIC, Authority

NOW = 1_700_000_000.0
WEBHOOK = "1JE4291016473214C"
YEARS = 3 * 366 * 86400.0
CONFIRM = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=x&Token=2336412f"


def sns(
    message: dict[str, Any], now: float = NOW, certificates: dict[str, bytes] | None = None, **options: Any
) -> Proof:
    provider = load_provider("aws-sns", options)
    provider.cache.update(SNS.published() if certificates is None else certificates)
    return provider.verify(SignedRequest(json.dumps(message).encode()), [TOPIC], now=now)


def paypal(request: SignedRequest, now: float = NOW, certificates: None = None, **options: Any) -> Proof:
    provider = load_provider("paypal", options)
    provider.cache.update(PAYPAL.published() if certificates is None else certificates)
    return provider.verify(request, [WEBHOOK], now=now)


def paypal_request() -> SignedRequest:
    return PAYPAL.sign(SignedRequest(b'{"id": "WH-1"}'), NOW)


def test_a_certificate_that_is_not_there_is_asked_for_and_used_once_it_is() -> None:
    provider = load_provider("aws-sns")
    request = SignedRequest(json.dumps(SNS.message(NOW)).encode())

    with pytest.raises(CertificateNeeded) as needed:
        provider.verify(request, [TOPIC], now=NOW)
    assert isinstance(needed.value, Unavailable)
    assert needed.value.url == SNS_CERTIFICATE
    needed.value.cache[needed.value.url] = SNS.certificate

    assert provider.verify(request, [TOPIC], now=NOW).key == 0


def test_two_sources_do_not_share_their_certificates() -> None:
    assert load_provider("aws-sns", {}).cache is not load_provider("aws-sns", {}).cache


@pytest.mark.parametrize("version", ["1", "2"])
def test_both_versions_of_an_sns_signature_pass(version: str) -> None:
    proof = sns(SNS.message(NOW, version))

    assert (proof.key, proof.signed_at, proof.replay_key) == (0, NOW, "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324")


def test_sha_1_can_be_ruled_out() -> None:
    with pytest.raises(BadSignature, match="SignatureVersion '1' is not accepted"):
        sns(SNS.message(NOW, "1"), allow_sha1=False)


@pytest.mark.parametrize("field", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type", "Signature"])
def test_every_field_that_means_anything_is_covered(field: str) -> None:
    message = SNS.message(NOW)
    changes = {"Type": "UnsubscribeConfirmation", "Timestamp": "2023-11-14T22:13:21.000Z", "Signature": "AAAA"}

    with pytest.raises(BadSignature):
        sns({**message, field: changes.get(field, message[field] + "x")})
    with pytest.raises(BadSignature):
        sns({**message, field: 5})
    with pytest.raises(BadSignature):
        sns({name: value for name, value in message.items() if name != field})


def test_a_message_needs_no_subject_and_cannot_be_given_one() -> None:
    message = SNS.message(NOW)
    del message["Subject"]
    text = "".join(f"{key}\n{message[key]}\n" for key in ("Message", "MessageId", "Timestamp", "TopicArn", "Type"))
    message["Signature"] = SNS.signature(text, SHA256())

    assert sns(message).key == 0
    assert sns({**message, "Subject": None}).key == 0
    for subject in ("forged", 5, ["forged"]):
        with pytest.raises(BadSignature):
            sns({**message, "Subject": subject})


def test_an_hour_is_enough_for_the_retries_of_sns() -> None:
    assert sns(SNS.message(NOW), now=NOW + 3590).signed_at == NOW


def test_a_subscription_that_wants_to_be_confirmed_says_where() -> None:
    assert sns(SNS.confirmation(NOW, CONFIRM)).confirm_url == CONFIRM
    assert sns(SNS.message(NOW)).confirm_url is None


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/?Action=ConfirmSubscription",
        "http://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription",
        "https://sns.eu-west-1.amazonaws.com@evil.example.com/",
        "https://sns.eu-west-1.amazonaws.com.evil.example.com/",
        "https://sns.eu-west-1.amazonaws.com:8443/",
        "https://sns.eu-west-1.amazonaws.com\\@evil.example.com/",
        "https://sns.eu-west-1.amazon\naws.com/",
        "https://[sns/",
    ],
)
def test_nobody_is_confirmed_to_but_amazon(url: str) -> None:
    with pytest.raises(BadSignature):
        sns(SNS.confirmation(NOW, url))


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example.com/SimpleNotificationService-0123.pem",
        "http://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123.pem?x=y",
        "https://sns.eu-west-1.amazonaws.com/bucket/SimpleNotificationService-0123.pem",
        "https://s3.amazonaws.com/SimpleNotificationService-0123.pem",
        "https://sns.eu-west-1.amazonaws.com/SimpleNotification\tService-0123.pem",
    ],
)
def test_no_certificate_is_wanted_from_anybody_but_amazon(url: str) -> None:
    with pytest.raises(BadSignature, match=r"not an address of Amazon SNS|not a URL"):
        sns({**SNS.message(NOW), "SigningCertURL": url})


def test_raw_message_delivery_is_refused_with_advice() -> None:
    with pytest.raises(BadSignature, match="turn it off"):
        load_provider("aws-sns").verify(SignedRequest(b"hello", (("x-amz-sns-rawdelivery", "true"),)), [TOPIC], now=NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b'"Notification"', b'{"Type": "Other"}', b'{"Type": 5}'])
def test_what_is_no_message_of_sns_is_refused(body: bytes) -> None:
    with pytest.raises(BadSignature):
        load_provider("aws-sns").verify(SignedRequest(body), [TOPIC], now=NOW)


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (b"", "there is no certificate"),
        (b"<html>", "there is no certificate"),
        (Authority(SNS_CERTIFICATE, "sns.example.com").certificate, "not an RSA certificate of aws-sns"),
        (Authority(SNS_CERTIFICATE, "sns.amazonaws.com").certificate, "is not Amazon's"),
    ],
)
def test_a_certificate_of_somebody_else_is_refused(certificate: bytes, reason: str) -> None:
    with pytest.raises(BadSignature, match=reason):
        sns(SNS.message(NOW), certificates={SNS_CERTIFICATE: certificate})


def test_a_certificate_is_valid_for_a_time() -> None:
    with pytest.raises(BadSignature, match="not valid at this time"):
        sns(SNS.message(NOW + YEARS), now=NOW + YEARS)


def test_where_roots_are_given_the_chain_has_to_end_in_one_of_them() -> None:
    assert sns(SNS.message(NOW), roots=SNS.root).key == 0
    assert paypal(paypal_request(), roots=PAYPAL.root).key == 0
    with pytest.raises(BadSignature, match="does not lead to a trusted root"):
        sns(SNS.message(NOW), roots=PAYPAL.root)
    with pytest.raises(ConfigError, match="no certificates in PEM"):
        sns(SNS.message(NOW), roots="nonsense")


def test_so_many_addresses_that_they_must_be_guesses_do_not_fill_the_memory() -> None:
    provider = load_provider("aws-sns")
    provider.cache.update({f"{SNS_CERTIFICATE}{number}": b"" for number in range(64)})

    with pytest.raises(CertificateNeeded):
        provider.verify(SignedRequest(json.dumps(SNS.message(NOW)).encode()), [TOPIC], now=NOW)

    assert not provider.cache


def test_a_transmission_of_paypal_passes() -> None:
    proof = paypal(paypal_request())

    assert (proof.signed_at, proof.replay_key) == (NOW, "69cd13f0-d67a-11e5")


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Paypal-Auth-Algo", "SHA1withRSA"),
        ("Paypal-Transmission-Id", "other"),
        ("Paypal-Transmission-Id", "a|b"),
        ("Paypal-Transmission-Time", "2023-11-14T22:13:21Z"),
        ("Paypal-Transmission-Sig", "AAAA"),
        ("Paypal-Transmission-Sig", "***"),
        ("Paypal-Cert-Url", "https://evil.example.com/v1/notifications/certs/CERT-1"),
        ("Paypal-Cert-Url", PAYPAL_CERTIFICATE.replace("https", "http")),
        ("Paypal-Cert-Url", PAYPAL_CERTIFICATE.replace("/certs/", "/certs/../../x/")),
        ("Paypal-Cert-Url", f"{PAYPAL_CERTIFICATE}?a=b"),
    ],
)
def test_a_changed_header_of_paypal_is_refused(header: str, value: str) -> None:
    with pytest.raises(BadSignature):
        paypal(paypal_request().put(header, value))


def test_a_transmission_for_another_webhook_is_refused() -> None:
    with pytest.raises(BadSignature, match="CRC-32"):
        paypal(PAYPAL.sign(SignedRequest(b"{}"), NOW, webhook="OTHER"))


def test_the_checksum_of_paypal_is_over_the_body() -> None:
    with pytest.raises(BadSignature):
        paypal(replace(paypal_request(), body=b'{"id": "WH-2"}'))
