"""Certificates that a sender publishes: fetched once, and trusted if name, dates and chain are right."""

import json
from base64 import b64decode
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from hookbot.errors import BadSignature, ConfigError, Unavailable
from hookbot.signatures import CertificateNeeded, Proof, SignedRequest, load_provider
from hookbot.signatures.certificates import MAX_CERTIFICATES, CertificateProvider, is_signature
from support.certificate_authority import BEGIN, PAYPAL, SNS, SNS_CERTIFICATE, TOPIC, Authority

NOW = 1_700_000_000.0
YEARS = 3 * 366 * 86400.0
NAME = "sns.amazonaws.com"


def provider(**options: Any) -> CertificateProvider:
    provider = load_provider("aws-sns", options)
    assert isinstance(provider, CertificateProvider)
    return provider


def message(now: float = NOW) -> SignedRequest:
    return SignedRequest(json.dumps(SNS.message(now)).encode())


def verify(certificate: bytes, now: float = NOW, **options: Any) -> Proof:
    """Proof of a message at `now`, with this certificate at the address that it names."""
    sns = provider(**options)
    sns.cache[SNS_CERTIFICATE] = certificate
    return sns.verify(message(now), [TOPIC], now=now)


def elliptic_certificate() -> bytes:
    """A certificate of Amazon's name for a key that is not RSA."""
    key = generate_ec(SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(BEGIN).not_valid_after(BEGIN.replace(year=2026))
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def test_a_certificate_that_is_not_there_is_asked_for_and_used_once_it_is() -> None:
    sns = provider()

    with pytest.raises(CertificateNeeded) as needed:
        sns.verify(message(), [TOPIC], now=NOW)
    assert isinstance(needed.value, Unavailable)
    assert needed.value.url == SNS_CERTIFICATE
    needed.value.cache[needed.value.url] = SNS.certificate

    assert sns.verify(message(), [TOPIC], now=NOW).key == 0


def test_two_sources_do_not_share_their_certificates() -> None:
    assert provider().cache is not provider().cache


@pytest.mark.parametrize(
    ("certificate", "reason"),
    [
        (b"", "there is no certificate"),
        (b"<html>", "there is no certificate"),
        (Authority(SNS_CERTIFICATE, "sns.example.com").certificate, "not an RSA certificate of aws-sns"),
        (Authority(SNS_CERTIFICATE, NAME).certificate, "does not match"),
        (elliptic_certificate(), "not an RSA certificate of aws-sns"),
    ],
)
def test_a_certificate_of_somebody_else_is_refused(certificate: bytes, reason: str) -> None:
    with pytest.raises(BadSignature, match=reason):
        verify(certificate)


def test_a_certificate_is_valid_for_a_time() -> None:
    with pytest.raises(BadSignature, match="not valid at this time"):
        verify(SNS.certificate, now=NOW + YEARS)


def test_where_roots_are_given_the_chain_has_to_end_in_one_of_them() -> None:
    assert verify(SNS.certificate, roots=SNS.root).key == 0
    assert verify(SNS.certificate, roots=PAYPAL.root + SNS.root).key == 0
    with pytest.raises(BadSignature, match="does not lead to a trusted root"):
        verify(SNS.certificate, roots=PAYPAL.root)
    with pytest.raises(ConfigError, match="no certificates in PEM"):
        provider(roots="nonsense")


def test_so_many_addresses_that_they_must_be_guesses_do_not_fill_the_memory() -> None:
    sns = provider()
    sns.cache.update({f"{SNS_CERTIFICATE}{number}": b"" for number in range(MAX_CERTIFICATES)})

    with pytest.raises(CertificateNeeded):
        sns.verify(message(), [TOPIC], now=NOW)

    assert not sns.cache


@pytest.mark.parametrize(("name", "digest"), [("sha1", SHA1()), ("sha256", SHA256())])
def test_a_signature_is_of_one_key_one_digest_and_one_content(name: str, digest: SHA1 | SHA256) -> None:
    signature = b64decode(SNS.signature("content", digest))

    assert is_signature(SNS.key.public_key(), signature, b"content", name)
    assert not is_signature(PAYPAL.key.public_key(), signature, b"content", name)
    assert not is_signature(SNS.key.public_key(), signature, b"changed", name)
    assert not is_signature(SNS.key.public_key(), signature, b"content", {"sha1": "sha256", "sha256": "sha1"}[name])
