"""Signature algorithms over bytes: HMAC, Ed25519 and ECDSA, with keys as bytes."""

import hashlib
import hmac
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from .weak_keys import PEM, check_public, check_shared

# A sender signs with its old and its new key while it replaces one.
MAX_PASSES = 4


class Algorithm(Protocol):
    """A signature algorithm. For a key pair, `check` and `verify` take the public key, `sign` the private one."""

    @property
    def title(self) -> str:
        """Name of the algorithm in error messages."""

    def check(self, key: bytes) -> None:
        """Raise `ValueError` if the key cannot verify."""

    def has_form(self, signature: bytes) -> bool:
        """True if the bytes can be a signature, by their size or encoding."""

    def verify(self, key: bytes, content: bytes, signatures: Sequence[bytes]) -> bool:
        """True if one of the signatures is right for `content`. The time it takes reveals nothing about the right one.

        The content, which may be large, is hashed once, however many there are. Raises `ValueError` if the key cannot
        verify.
        """

    def sign(self, key: bytes, content: bytes) -> bytes:
        """The signature of `content`; raises `ValueError` if the key cannot sign."""


@dataclass(frozen=True)
class Hmac:
    """HMAC (RFC 2104): signer and verifier share the secret."""

    title: str
    digest: str

    def check(self, key: bytes) -> None:
        check_shared(key)

    @cached_property
    def _size(self) -> int:
        return hashlib.new(self.digest).digest_size

    def has_form(self, signature: bytes) -> bool:
        return len(signature) == self._size

    def verify(self, key: bytes, content: bytes, signatures: Sequence[bytes]) -> bool:
        right = self.sign(key, content)
        return any(hmac.compare_digest(right, signature) for signature in signatures)

    def sign(self, key: bytes, content: bytes) -> bytes:
        self.check(key)
        return hmac.digest(key, content, self.digest)


@dataclass(frozen=True)
class Ed25519:
    """Ed25519 (RFC 8032). A key is in PEM, DER or 32 raw bytes; a private key may also be 64 bytes.

    Each signature is hashed together with the content, so that only the first `MAX_PASSES` are verified.
    """

    title: str = "Ed25519"

    def check(self, key: bytes) -> None:
        self._public(key)

    def has_form(self, signature: bytes) -> bool:
        return len(signature) == 64

    def verify(self, key: bytes, content: bytes, signatures: Sequence[bytes]) -> bool:
        public = self._public(key)
        for signature in signatures[:MAX_PASSES]:
            with suppress(InvalidSignature):
                public.verify(signature, content)
                return True
        return False

    def sign(self, key: bytes, content: bytes) -> bytes:
        # 64 bytes are the seed followed by the public key, as libsodium and Standard Webhooks write them.
        private = Ed25519PrivateKey.from_private_bytes(key[:32]) if len(key) in (32, 64) else load_private(key)
        if not isinstance(private, Ed25519PrivateKey):
            raise ValueError("not an Ed25519 private key")
        return private.sign(content)

    @staticmethod
    def _public(key: bytes) -> Ed25519PublicKey:
        public = Ed25519PublicKey.from_public_bytes(key) if len(key) == 32 else load_public(key)
        if not isinstance(public, Ed25519PublicKey):
            raise ValueError("it is a key of another algorithm")
        check_public(public)
        return public


@dataclass(frozen=True)
class EcdsaSha256:
    """ECDSA (FIPS 186-5) with SHA-256 and signatures in DER. A key is in PEM or DER."""

    title: str = "ECDSA-SHA256"

    def check(self, key: bytes) -> None:
        self._public(key)

    def has_form(self, signature: bytes) -> bool:
        try:
            decode_dss_signature(signature)
        except ValueError:
            return False
        return True

    def verify(self, key: bytes, content: bytes, signatures: Sequence[bytes]) -> bool:
        public, digest = self._public(key), sha256(content).digest()
        for signature in signatures:
            with suppress(InvalidSignature):
                public.verify(signature, digest, ECDSA(Prehashed(SHA256())))
                return True
        return False

    def sign(self, key: bytes, content: bytes) -> bytes:
        private = load_private(key)
        if not isinstance(private, EllipticCurvePrivateKey):
            raise ValueError("not an elliptic curve private key")
        return private.sign(content, ECDSA(SHA256()))

    @staticmethod
    def _public(key: bytes) -> EllipticCurvePublicKey:
        public = load_public(key)
        if not isinstance(public, EllipticCurvePublicKey):
            raise ValueError("it is a key of another algorithm")
        check_public(public)
        return public


def is_sha256(digits: str, content: bytes) -> bool:
    """True if `digits` are the SHA-256 of `content` in lower-case hex. Compares in constant time."""
    return hmac.compare_digest(digits.encode("utf-8", "surrogatepass"), sha256(content).hexdigest().encode())


def load_public(key: bytes) -> PublicKeyTypes:
    """A public key in PEM or DER; raises `ValueError` if it is malformed or of an unknown kind."""
    try:
        return load_pem_public_key(key) if key.startswith(PEM) else load_der_public_key(key)
    except UnsupportedAlgorithm:
        raise ValueError("not a known kind of key") from None


def load_private(key: bytes) -> PrivateKeyTypes:
    """A private key in PEM or DER; raises `ValueError` if it is malformed, encrypted or of an unknown kind."""
    try:
        return load_pem_private_key(key, None) if key.startswith(PEM) else load_der_private_key(key, None)
    except TypeError:
        # Raised by cryptography if a password is missing.
        raise ValueError("the private key is encrypted") from None
    except UnsupportedAlgorithm:
        raise ValueError("not a known kind of key") from None


ALGORITHMS: dict[str, Algorithm] = {
    "hmac-sha1": Hmac("HMAC-SHA1", "sha1"),
    "hmac-sha256": Hmac("HMAC-SHA256", "sha256"),
    "hmac-sha512": Hmac("HMAC-SHA512", "sha512"),
    "ed25519": Ed25519(),
    "ecdsa-sha256": EcdsaSha256(),
}
