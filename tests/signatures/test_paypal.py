"""PayPal: the headers that are signed, and the checksum of the body."""

from dataclasses import replace

import pytest

from hookbot.errors import BadSignature, ConfigError
from hookbot.signatures import Proof, SignedRequest, load_provider
from hookbot.signatures.paypal import PayPal
from support.certificate_authority import PAYPAL, PAYPAL_CERTIFICATE

NOW = 1_700_000_000.0
WEBHOOK = "1JE4291016473214C"


def provider() -> PayPal:
    provider = load_provider("paypal")
    assert isinstance(provider, PayPal)
    provider.cache.update(PAYPAL.published())
    return provider


def paypal(request: SignedRequest, *webhooks: str, now: float = NOW) -> Proof:
    return provider().verify(request, webhooks or [WEBHOOK], now=now)


def paypal_request() -> SignedRequest:
    return PAYPAL.sign(SignedRequest(b'{"id": "WH-1"}'), NOW)


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


def test_any_of_several_webhooks_will_do() -> None:
    assert paypal(paypal_request(), "OTHER", WEBHOOK).key == 1


def test_a_transmission_is_fresh_for_five_minutes() -> None:
    assert paypal(paypal_request(), now=NOW + 300).key == 0
    with pytest.raises(BadSignature, match="signed 301 seconds ago"):
        paypal(paypal_request(), now=NOW + 301)


def test_a_transmission_is_covered_but_for_its_body() -> None:
    assert provider().covers == ("id", "timestamp", "checksum")
    assert provider().options == ("roots", "max_age")


@pytest.mark.parametrize("secret", ["", "a|b", "a b"])
def test_a_secret_is_the_id_of_a_webhook(secret: str) -> None:
    provider().check(WEBHOOK)
    with pytest.raises(ConfigError, match="must be the id of a webhook"):
        provider().check(secret)
