"""JSON Web Tokens: which key, which algorithm, how old."""

import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP192R1, SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from hookbot.errors import BadSignature, ConfigError
from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.json_web_token import MAX_TOKEN_BYTES
from hookbot.signatures.provider import Proof

NOW = 1_700_000_000.0
SHARED = "0123456789abcdef0123456789abcdef"
BODY = b'{"a": 1}'


def pem(key: Any) -> tuple[str, str]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return private, public


RSA, EC, ED = (pem(key) for key in (generate_rsa(65537, 2048), generate_ec(SECP256R1()), Ed25519PrivateKey.generate()))


def request(claims: dict[str, Any], key: str = SHARED, algorithm: str = "HS256", **headers: Any) -> SignedRequest:
    token = jwt.encode(claims, key, algorithm, headers=headers or None)
    return SignedRequest(BODY, (("Authorization", f"bearer {token}"),))


def verify(request: SignedRequest, *secrets: Any, now: float = NOW, **options: Any) -> Proof:
    return load_provider("jwt", options).verify(request, secrets or [SHARED], now=now)


@pytest.mark.parametrize("keys", [RSA, EC, ED], ids=["RS256", "ES256", "EdDSA"])
def test_the_kind_of_the_key_says_the_algorithm(keys: tuple[str, str]) -> None:
    private, public = keys
    signed = load_provider("jwt").sign(SignedRequest(BODY), private, now=NOW)

    assert verify(signed, SHARED, public).key == 1
    load_provider("jwt").check(public)


def test_a_public_key_is_never_taken_for_a_shared_one() -> None:
    forged = SignedRequest(BODY, (("Authorization", f"Bearer {_hs256_with(RSA[1])}"),))

    with pytest.raises(BadSignature, match="alg"):
        verify(forged, RSA[1])


def _hs256_with(key: str) -> str:
    unsigned = jwt.encode({"iat": NOW, "exp": NOW + 60}, SHARED, "HS256").rpartition(".")[0]
    algorithm = jwt.get_algorithm_by_name("HS256")
    return f"{unsigned}.{jwt.utils.base64url_encode(algorithm.sign(unsigned.encode(), key.encode())).decode()}"


@pytest.mark.parametrize(("size", "accepted"), [(MAX_TOKEN_BYTES // 2, True), (MAX_TOKEN_BYTES, False)])
def test_a_long_token_is_refused_before_it_is_looked_at(size: int, accepted: bool) -> None:
    long = request({"exp": NOW, "groups": "x" * size})

    if accepted:
        verify(long)
    else:
        with pytest.raises(BadSignature, match="longer than 8192 bytes"):
            verify(long)


def test_a_token_without_a_signature_is_refused() -> None:
    with pytest.raises(BadSignature):
        verify(request({"exp": NOW + 60}, "", "none"))


def test_a_key_of_a_set_is_found_by_its_id() -> None:
    keys = [json.loads(jwt.get_algorithm_by_name(name).to_jwk(load(pair[1]))) | {"kid": name} for name, pair, load in (
        ("RS256", RSA, _public), ("ES256", EC, _public), ("EdDSA", ED, _public))]  # fmt: skip
    jwks = json.dumps({"keys": keys})

    for name, (private, _) in (("RS256", RSA), ("ES256", EC), ("EdDSA", ED)):
        assert verify(request({"exp": NOW + 60}, private, name, kid=name), jwks).key == 0
    assert verify(request({"exp": NOW + 60}, EC[0], "ES256"), jwks).key == 0
    assert verify(request({"exp": NOW + 60}, EC[0], "ES256"), json.dumps(keys[1])).key == 0
    with pytest.raises(BadSignature, match="no key has its key id"):
        verify(request({"exp": NOW + 60}, EC[0], "ES256", kid="unknown"), jwks)


def _public(text: str) -> Any:
    return load_pem_public_key(text.encode())


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"exp": NOW - 61}, "expired 61 seconds ago"),
        ({"exp": NOW + 60, "nbf": NOW + 61}, "not valid for another 61 seconds"),
        ({"exp": NOW + 60, "iat": NOW + 61}, "not valid for another 61 seconds"),
        ({"iat": NOW - 301}, "signed 301 seconds ago"),
        ({}, "would never expire"),
        ({"exp": "tomorrow"}, "the claim 'exp' is not a number of seconds"),
        ({"exp": 10**400}, "the claim 'exp' is not a number of seconds"),
        ({"exp": NOW + 60, "nbf": -(10**400)}, "the claim 'nbf' is not a number of seconds"),
        ({"iat": float("inf")}, "the claim 'iat' is not a number of seconds"),
        ({"exp": float("nan")}, "the claim 'exp' is not a number of seconds"),
        ({"exp": True}, "the claim 'exp' is not a number of seconds"),
        ({"exp": NOW + 60, "nbf": [1]}, "the claim 'nbf' is not a number of seconds"),
    ],
)
def test_a_token_is_valid_for_a_time(claims: dict[str, Any], reason: str) -> None:
    token = jwt.api_jws.encode(json.dumps(claims).encode(), SHARED, "HS256")

    with pytest.raises(BadSignature) as caught:
        verify(SignedRequest(BODY, (("Authorization", f"Bearer {token}"),)))

    assert reason in str(caught.value)


def test_clocks_may_be_a_minute_apart() -> None:
    assert verify(request({"exp": NOW - 59, "iat": NOW + 59})).signed_at == NOW + 59


def test_audience_and_issuer_are_checked_where_they_are_given() -> None:
    signed = request({"exp": NOW + 60, "aud": "hub", "iss": "acme"})

    assert verify(signed).key == 0
    assert verify(signed, audience="hub", issuer="acme").key == 0
    wrong: list[dict[str, Any]] = [{"audience": "other"}, {"issuer": "other"}]
    for options in wrong:
        with pytest.raises(BadSignature, match="the JSON Web Token is invalid"):
            verify(signed, **options)


def test_a_body_claim_binds_the_token_to_the_body_and_makes_it_single() -> None:
    options: dict[str, Any] = {"body_claim": "payload_hash"}
    signed = load_provider("jwt", options).sign(SignedRequest(BODY), SHARED, now=NOW)

    assert verify(signed, **options).replay_key is not None
    assert verify(signed).replay_key is None
    with pytest.raises(BadSignature, match="is not the SHA-256 of the body"):
        verify(replace(signed, body=b"{}"), **options)
    with pytest.raises(BadSignature, match="no claim 'payload_hash'"):
        verify(request({"exp": NOW + 60}), **options)


def test_another_spelling_of_the_signature_is_no_other_delivery() -> None:
    options: dict[str, Any] = {"body_claim": "payload_hash"}
    signed = load_provider("jwt", options).sign(SignedRequest(BODY), SHARED, now=NOW)
    value = signed.need("Authorization")
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    respelled = value[:-1] + last[last.index(value[-1]) ^ 1]  # 43 digits hold two bits more than 32 bytes

    proofs = {verify(signed, **options)}
    with suppress(BadSignature):  # a library may accept only one spelling
        proofs.add(verify(signed.put("Authorization", respelled), **options))
    assert len(proofs) == 1


def test_a_key_too_short_for_any_algorithm_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="at least 32 bytes, not 5"):
        load_provider("jwt").check("short")
    with pytest.raises(BadSignature, match="alg"):
        verify(request({"exp": NOW + 60}, "x" * 64, "HS512"), "x" * 40)


def test_signing_with_something_else_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ConfigError):
        load_provider("jwt").sign(SignedRequest(BODY), RSA[1], now=NOW)


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PUBLIC KEY-----",
        pem(X25519PrivateKey.generate())[1],
        "{",
        '{"kty": "oct", "k": "c2hvcnQ", "alg": "none"}',
        '{"keys": ' + "[" * 100_000,
        RSAAlgorithm.to_jwk(generate_rsa(65537, 2048)),
        json.dumps({**json.loads(ECAlgorithm.to_jwk(generate_ec(SECP256R1()).public_key())), "alg": "ES512"}),
        *('{"keys": []}', '{"keys": 5}', '{"keys": [5]}', '{"kty": "oct"}', '{"kty": 5}', '{"kty": "oct", "k": 5}'),
    ],
)
def test_what_is_no_key_for_a_token_is_an_error_of_the_configuration_and_not_told(secret: str) -> None:
    with pytest.raises(ConfigError, match="must be a shared key, a public key in PEM, a JWK or a JWK set") as caught:
        load_provider("jwt").check(secret)

    assert secret not in str(caught.value)


def test_a_shared_key_in_a_jwk_has_to_be_long_enough_too() -> None:
    with pytest.raises(ConfigError, match="at least 32 bytes, not 5"):
        load_provider("jwt").check('{"kty": "oct", "k": "c2hvcnQ", "alg": "HS256"}')


def test_nothing_is_signed_with_a_jwk() -> None:
    with pytest.raises(ConfigError, match="signing a JWT needs a shared key or a private key in PEM"):
        load_provider("jwt").sign(SignedRequest(b"{}"), RSAAlgorithm.to_jwk(generate_rsa(65537, 2048)), now=NOW)


def test_a_curve_without_an_algorithm_signs_nothing() -> None:
    private, public = pem(generate_ec(SECP192R1()))

    with pytest.raises(ConfigError):
        load_provider("jwt").check(public)
    with pytest.raises(ConfigError, match="needs a shared key or a private key"):
        load_provider("jwt").sign(SignedRequest(BODY), private, now=NOW)


@pytest.mark.parametrize(("body_claim", "covers"), [("", ("timestamp",)), ("payload_hash", ("timestamp", "body"))])
def test_a_token_covers_the_body_only_by_a_claim(body_claim: str, covers: tuple[str, ...]) -> None:
    provider = load_provider("jwt", {"body_claim": body_claim})

    assert provider.covers == covers
    assert provider.secret_in == ("Authorization",)


def test_a_token_is_found_at_its_place() -> None:
    options: dict[str, Any] = {"header": "query:token", "prefix": ""}
    signed = load_provider("jwt", options).sign(SignedRequest(BODY, url="https://example.com/in"), SHARED, now=NOW)

    assert verify(signed, **options).signed_at == NOW
    with pytest.raises(BadSignature, match="has no JSON Web Token"):
        verify(replace(signed, url="https://example.com/in?token=x"), **options)
    with pytest.raises(ConfigError, match="not a place"):
        load_provider("jwt", {"header": "a b"})
