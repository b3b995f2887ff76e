"""Signature algorithms, with the vectors of their RFCs, and the forms of their keys."""

from hashlib import sha256
from typing import ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from hookbot.signatures.algorithms import ALGORITHMS, MAX_PASSES, Hmac, is_sha256, load_private, load_public

Key = Ed25519PrivateKey | EllipticCurvePrivateKey

KEYS: dict[str, Key] = {
    "ed25519": Ed25519PrivateKey.from_private_bytes(bytes(range(32))),
    "ecdsa-sha256": generate_private_key(SECP256R1()),
}
# The object identifier of the curve P-256 (RFC 5480, section 2.1.1.1).
P256 = bytes.fromhex("06082a8648ce3d030107")
RAW = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
SEED, POINT = RAW.private_bytes_raw(), RAW.public_key().public_bytes_raw()


def private(key: Key, encoding: Encoding, password: bytes = b"") -> bytes:
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(encoding, PrivateFormat.PKCS8, encryption)


def public(key: Key, encoding: Encoding) -> bytes:
    return key.public_key().public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("name", "key", "content", "digest"),
    [
        # RFC 2202, test case 2.
        ("hmac-sha1", b"Jefe", b"what do ya want for nothing?", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        # RFC 4231, test cases 2 and 1.
        (
            "hmac-sha256",
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            "hmac-sha512",
            b"\x0b" * 20,
            b"Hi There",
            (
                "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
                "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"
            ),
        ),
        # RFC 8032, section 7.1, tests 1 and 2, with the seed.
        (
            "ed25519",
            bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
            b"",
            (
                "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
                "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
            ),
        ),
        (
            "ed25519",
            bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"),
            b"\x72",
            (
                "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
                "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
            ),
        ),
    ],
)
def test_a_signature_is_that_of_the_rfc(name: str, key: bytes, content: bytes, digest: str) -> None:
    assert ALGORITHMS[name].sign(key, content).hex() == digest


@pytest.mark.parametrize("name", ["hmac-sha1", "hmac-sha256", "hmac-sha512"])
def test_an_hmac_is_verified_with_the_key_that_made_it(name: str) -> None:
    algorithm = ALGORITHMS[name]
    signature = algorithm.sign(b"key", b"content")

    algorithm.check(b"key")
    assert algorithm.verify(b"key", b"content", [signature])
    assert not algorithm.verify(b"other", b"content", [signature])
    assert not algorithm.verify(b"key", b"changed", [signature])
    assert not algorithm.verify(b"key", b"content", [signature[:-1]])


class CountingHmac(Hmac):
    """An HMAC that notes what it is computed of."""

    seen: ClassVar[list[bytes]] = []

    def sign(self, key: bytes, content: bytes) -> bytes:
        self.seen.append(content)
        return super().sign(key, content)


def test_a_content_is_hashed_once_for_all_its_signatures() -> None:
    algorithm = CountingHmac("HMAC-SHA256", "sha256")
    right = Hmac("HMAC-SHA256", "sha256").sign(b"key", b"right")

    assert algorithm.verify(b"key", b"right", [*[bytes(32)] * 15, right])
    assert not algorithm.verify(b"key", b"wrong", [bytes(32)] * 16)
    assert algorithm.seen == [b"right", b"wrong"]


@pytest.mark.parametrize(
    ("name", "key", "verified"), [("ed25519", KEYS["ed25519"], False), ("ecdsa-sha256", KEYS["ecdsa-sha256"], True)]
)
def test_only_so_many_signatures_are_verified_as_there_are_passes_over_the_content(
    name: str, key: Ed25519PrivateKey | EllipticCurvePrivateKey, verified: bool
) -> None:
    algorithm, verifier = ALGORITHMS[name], public(key, Encoding.DER)
    right = algorithm.sign(private(key, Encoding.DER), b"content")
    wrong = algorithm.sign(private(key, Encoding.DER), b"other")

    assert algorithm.verify(verifier, b"content", [*[wrong] * (MAX_PASSES - 1), right])
    assert algorithm.verify(verifier, b"content", [*[wrong] * MAX_PASSES, right]) is verified


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_signature_is_known_by_its_size_or_encoding(name: str) -> None:
    algorithm = ALGORITHMS[name]
    signature = algorithm.sign(private(KEYS[name], Encoding.DER) if name in KEYS else b"key", b"content")

    assert algorithm.has_form(signature)
    assert not any(map(algorithm.has_form, (b"", b"\x30", bytes(19), signature[:-1], signature * 2, bytes(20_000))))


@pytest.mark.parametrize("name", ["hmac-sha1", "hmac-sha256", "hmac-sha512"])
def test_an_empty_secret_makes_and_checks_nothing(name: str) -> None:
    for use in (
        lambda: ALGORITHMS[name].check(b""),
        lambda: ALGORITHMS[name].sign(b"", b"content"),
        lambda: ALGORITHMS[name].verify(b"", b"content", [b"signature"]),
    ):
        with pytest.raises(ValueError, match="the secret is empty"):
            use()


FORMS = {
    **{f"{name} PEM": (name, private(key, Encoding.PEM), public(key, Encoding.PEM)) for name, key in KEYS.items()},
    **{f"{name} DER": (name, private(key, Encoding.DER), public(key, Encoding.DER)) for name, key in KEYS.items()},
    "seed": ("ed25519", SEED, POINT),
    "seed and public key": ("ed25519", SEED + POINT, POINT),
}


@pytest.mark.parametrize(("name", "private_key", "public_key"), FORMS.values(), ids=FORMS)
def test_a_pair_of_keys_signs_and_verifies(name: str, private_key: bytes, public_key: bytes) -> None:
    algorithm = ALGORITHMS[name]
    signature = algorithm.sign(private_key, b"content")

    algorithm.check(public_key)
    assert algorithm.verify(public_key, b"content", [signature])
    assert not algorithm.verify(public_key, b"changed", [signature])
    assert not algorithm.verify(public_key, b"content", [b""])


@pytest.mark.parametrize(("name", "other"), [("ed25519", "ecdsa-sha256"), ("ecdsa-sha256", "ed25519")])
def test_a_key_of_another_kind_is_an_error_of_value(name: str, other: str) -> None:
    algorithm, key = ALGORITHMS[name], KEYS[other]

    with pytest.raises(ValueError, match="a key of another algorithm"):
        algorithm.check(public(key, Encoding.PEM))
    with pytest.raises(ValueError, match="a key of another algorithm"):
        algorithm.verify(public(key, Encoding.PEM), b"content", [])
    with pytest.raises(ValueError, match=r"not an .* private key"):
        algorithm.sign(private(key, Encoding.DER), b"content")


@pytest.mark.parametrize("key", [b"", b"x", b"-----BEGIN PUBLIC KEY-----", b"\x30\x00"])
def test_what_is_no_key_is_an_error_of_value(key: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the words are those of cryptography
        load_public(key)
    with pytest.raises(ValueError):  # noqa: PT011
        load_private(key)


def test_a_key_of_an_unknown_curve_is_an_error_of_value() -> None:
    private_key = KEYS["ecdsa-sha256"]
    der = private_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    unknown = (P256, P256[:-1] + b"\x7f")

    with pytest.raises(ValueError, match="not a known kind of key"):
        load_public(der.replace(*unknown))
    with pytest.raises(ValueError, match="not a known kind of key"):
        load_private(private(private_key, Encoding.DER).replace(*unknown))


@pytest.mark.parametrize("form", [Encoding.PEM, Encoding.DER])
def test_a_private_key_with_a_password_is_refused(form: Encoding) -> None:
    with pytest.raises(ValueError, match="the private key is encrypted"):
        load_private(private(KEYS["ed25519"], form, b"password"))


def test_a_sha_256_is_compared_in_lower_case_hex() -> None:
    digits = sha256(b"content").hexdigest()

    assert is_sha256(digits, b"content")
    assert not any(is_sha256(wrong, b"content") for wrong in (digits.upper(), digits[:-1], "", "\ud800", "é"))
