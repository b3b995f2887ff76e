"""Keys under which anybody can sign, and where they are refused."""

import json
from base64 import b64encode, encodebytes, urlsafe_b64encode
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP192R1, SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hookbot.errors import BadSignature, ConfigError
from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.weak_keys import WeakKey, check_public, check_shared
from support.certificate_authority import make_certificate

P = 2**255 - 19
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]


def add(a: Point, b: Point) -> Point:
    """Sum of two points of edwards25519 (RFC 8032, section 5.1)."""
    product = D * a[0] * b[0] * a[1] * b[1] % P
    x = (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, -1, P)
    return x % P, (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, -1, P) % P


def root(square: int) -> int:
    x = pow(square, (P + 3) // 8, P)
    return x if x * x % P == square % P else x * pow(2, (P - 1) // 4, P) % P


def torsion() -> set[Point]:
    """The eight points whose order divides 8: multiples of one of order 8, for which d*y^4 + 2*y^2 = 1."""
    minus = (-1 + root(1 + D)) * pow(D, -1, P) % P
    y = next(y for square in (minus, (-2 - D * minus) * pow(D, -1, P) % P) if (y := root(square)) ** 2 % P == square)
    x = root((y * y - 1) * pow(D * y * y + 1, -1, P) % P)
    points, point = {(0, 1)}, (x, y)
    while point not in points:
        points.add(point)
        point = add(point, (x, y))
    return points


def encodings(points: set[Point]) -> set[bytes]:
    """All encodings of the points: with either sign of x, and of y plus the prime where that fits into 255 bits."""
    ys = {y for _, y in points} | {y + P for _, y in points if y + P < 2**255}
    return {(y | sign << 255).to_bytes(32, "little") for y in ys for sign in (0, 1)}


def test_no_point_of_small_order_is_a_key_in_any_encoding() -> None:
    points = torsion()
    assert len(points) == 8
    assert len(encodings(points)) == 14
    for encoding in encodings(points):
        with pytest.raises(WeakKey, match="small order"):
            check_public(Ed25519PublicKey.from_public_bytes(encoding))


def test_any_other_point_is_a_key() -> None:
    check_public(Ed25519PrivateKey.generate().public_key())


ZEROS = bytes(32)
NON_CANONICAL = (P + 1).to_bytes(32, "little")


@pytest.mark.parametrize("point", [ZEROS, NON_CANONICAL, b"\xed" + b"\xff" * 31], ids=bytes.hex)
def test_a_key_of_small_order_is_refused_by_every_provider_that_takes_one(point: bytes) -> None:
    jwk = json.dumps({"kty": "OKP", "crv": "Ed25519", "x": urlsafe_b64encode(point).decode().rstrip("=")})
    pem = Ed25519PublicKey.from_public_bytes(point).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for name, secret in (
        ("discord", point.hex()),
        ("discord", pem.decode()),
        ("standard-webhooks", f"whpk_{b64encode(point).decode()}"),
        ("jwt", pem.decode()),
        ("jwt", jwk),
        ("jwt", f'{{"keys": [{jwk}]}}'),
    ):
        with pytest.raises(ConfigError, match="small order"):
            load_provider(name).check(secret)


def test_a_signature_of_zeros_is_not_verified_by_a_key_of_zeros() -> None:
    for number in range(8):
        request = SignedRequest(
            b"%d" % number, (("X-Signature-Ed25519", "00" * 64), ("X-Signature-Timestamp", "1700000000"))
        )
        with pytest.raises((ConfigError, BadSignature)):
            load_provider("discord").verify(request, ["00" * 32], now=1_700_000_000)


OWN = generate_rsa(65537, 2048)
RSA = generate_rsa(65537, 2048).public_key().public_numbers()
WEAK: dict[str, Any] = {
    "1024 bits": generate_rsa(65537, 1024).public_key(),
    "even": RSAPublicNumbers(3, RSA.n + 1).public_key(),
    "a small factor": RSAPublicNumbers(3, RSA.n * 997).public_key(),
    "a square": RSAPublicNumbers(3, OWN.private_numbers().p ** 4).public_key(),
    "192 bits": generate_ec(SECP192R1()).public_key(),
}


@pytest.mark.parametrize("how", WEAK)
def test_a_key_of_too_few_bits_or_whose_modulus_is_easily_taken_apart_is_refused(how: str) -> None:
    with pytest.raises(WeakKey):
        check_public(WEAK[how])
    pem = WEAK[how].public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    with pytest.raises(ConfigError):
        load_provider("jwt").check(pem)


def test_keys_of_enough_bits_are_accepted() -> None:
    check_public(RSA.public_key())
    check_public(generate_ec(SECP256R1()).public_key())


def test_an_exponent_that_leaves_the_message_as_it_is_is_refused_when_the_key_is_loaded() -> None:
    number = urlsafe_b64encode(RSA.n.to_bytes(256, "big")).decode().rstrip("=")
    with pytest.raises(ConfigError):
        load_provider("jwt").check(json.dumps({"kty": "RSA", "n": number, "e": "AQ", "alg": "RS256"}))


def test_a_point_that_is_not_on_its_curve_is_refused_when_the_key_is_loaded() -> None:
    public = bytearray(DER)
    public[-1] ^= 1
    with pytest.raises(ConfigError):
        load_provider("sendgrid").check(b64encode(public).decode())


PUBLIC = generate_ec(SECP256R1()).public_key()
DER = PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
CERTIFICATE = make_certificate("acme", OWN, "acme", OWN)
DER_WITH_SPACE = next(
    der
    for der in iter(
        lambda: generate_ec(SECP256R1()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo), b""
    )
    if der.endswith((b" ", b"\n"))
)
KNOWN = {
    "empty": b"",
    "white space": b" \t\r\n",
    "zeros": b"\0" * 32,
    "PEM": PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "PEM after white space": b"\n " + PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
    "SSH": PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    "DER": DER,
    "DER that ends like white space": DER_WITH_SPACE,
    "DER in base64": b64encode(DER),
    "DER in base64 on lines": encodebytes(DER),
    "DER in base64url": urlsafe_b64encode(DER).rstrip(b"="),
    "DER in hex": DER.hex().encode(),
    "PEM in base64": b64encode(PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)),
    "SSH in hardware": b"sk-ssh-ed25519@openssh.com AAAA",
    "JWK": b'{"kty": "EC", "crv": "P-256", "x": "", "y": ""}',
    "JWK set": b' {"keys": []}',
    "certificate": b"-----BEGIN CERTIFICATE-----\n",
    "certificate in base64": b64encode(CERTIFICATE.public_bytes(Encoding.DER)),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_what_others_know_is_no_key_of_an_hmac(kind: str) -> None:
    with pytest.raises(WeakKey):
        check_shared(KNOWN[kind])


@pytest.mark.parametrize("name", ["github", "hmac", "stripe", "shopify", "jwt"])
def test_a_public_key_is_not_taken_for_the_secret_of_an_hmac(name: str) -> None:
    pem = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    provider = load_provider(name)
    for secret in (b64encode(DER).decode(), " " * 40, *((pem, f"\n{pem}") if name != "jwt" else ())):
        with pytest.raises(ConfigError) as caught:
            provider.check(secret)
        assert secret.strip() == "" or secret.strip() not in str(caught.value)


def test_a_public_key_after_white_space_is_still_one_for_a_jwt() -> None:
    pem = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    # If it were a shared key, a token with the HMAC under the public key would be valid.
    provider = load_provider("jwt")
    provider.check(f"\n{pem.decode()}")
    with pytest.raises(ConfigError, match="private key"):
        provider.sign(SignedRequest(b""), f"\n{pem.decode()}", now=1_700_000_000)


@pytest.mark.parametrize(
    "key",
    [
        b"x",
        b"It's a Secret to Everybody",
        b"\0\1\2\3",
        b"YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=",
        b"{ }",
        b'{"kty":"oct"}',
        b"0" * 64,
    ],
)
def test_any_other_secret_is_a_key_of_an_hmac(key: bytes) -> None:
    check_shared(key)


@pytest.mark.parametrize(("name", "secret"), [("gitlab", " "), ("header", "\t"), ("basic", ":"), ("basic", " : ")])
def test_a_shared_secret_of_white_space_is_refused(name: str, secret: str) -> None:
    with pytest.raises(ConfigError):
        load_provider(name).check(secret)
    load_provider("basic").check(":token")
