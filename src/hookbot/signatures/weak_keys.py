"""Keys that prove nothing: under them anybody can make a signature that is valid.

They are refused when they are configured, since a signature of theirs looks like any other.
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from math import gcd, isqrt, prod

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from cryptography.x509 import load_der_x509_certificate

PEM = b"-----BEGIN"
# How keys of pairs begin as text: those of OpenSSH by their kind, with "sk-" if they are in hardware.
_TEXTS = (PEM, b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"sk-ecdsa-")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
MIN_RSA_BITS = 2048
"""The least that RFC 7518, section 3.3, allows; 829 bits have been factored."""
MIN_CURVE_BITS = 224
"""The least of NIST SP 800-57, for 112 bits of security, which 2048 bits of RSA have too."""

_P = 2**255 - 19
# The y of the points of order 8, a root of y^4 + 2/d*y^2 - 1/d: RFC 7748 has the curve, libsodium the same constants.
_Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
# Finding larger factors takes long; those of these numbers are found at once.
_SMALL_FACTORS = prod(range(2, 1000))
# Of the eight points whose order divides the cofactor: order 1, 2, 4 and 8. An encoding may exceed the prime (RFC 8032,
# section 5.1.3, has decoders refuse that; OpenSSL's does not), and has the sign of x in its highest bit.
_SMALL_ORDER = frozenset({0, 1, _P - 1, _P, _P + 1, _Y8, _P - _Y8})


class WeakKey(ValueError):
    """The key proves nothing. The text does not contain it."""


# It is checked for every request, and reading it as a public key takes longer than an HMAC.
@lru_cache(maxsize=256)
def check_shared(key: bytes) -> None:
    """Raise `WeakKey` if others know the key of an HMAC: it is empty, or a public key."""
    # HMAC pads a key with zeros (RFC 2104), so that zeros are the empty key.
    if not key.strip(b"\0 \t\r\n"):
        raise WeakKey("the secret is empty")
    # Both, since the last byte of a key in DER may look like white space.
    if _is_public(key) or _is_public(key.strip()):
        raise WeakKey("the secret is a key of a pair, which an HMAC must not use: anybody may know it")


def check_public(key: object) -> None:
    """Raise `WeakKey` if a public key is so weak that it proves nothing. Elliptic curves are checked when loaded."""
    if isinstance(key, Ed25519PublicKey):
        if int.from_bytes(key.public_bytes_raw(), "little") % 2**255 in _SMALL_ORDER:
            raise WeakKey("it is a point of small order, for which signatures can be forged")
    elif isinstance(key, RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise WeakKey(f"an RSA key must have at least {MIN_RSA_BITS} bits, not {key.key_size}")
        if not _is_modulus(key.public_numbers().n):
            raise WeakKey("the modulus of its RSA key is not a product of two large primes")
    elif isinstance(key, EllipticCurvePublicKey) and key.curve.key_size < MIN_CURVE_BITS:
        raise WeakKey(f"a curve must have at least {MIN_CURVE_BITS} bits, not {key.curve.key_size}")


def _is_modulus(number: int) -> bool:
    """False for a modulus that anybody can take apart at once: it is a square, or has a small factor."""
    return gcd(number, _SMALL_FACTORS) == 1 and isqrt(number) ** 2 != number


def _is_public(key: bytes) -> bool:
    return any(text.startswith(_TEXTS) or _is_jwk(text) or _is_der(text) for text in _decoded(key))


def _decoded(key: bytes) -> Iterator[bytes]:
    """The key itself, and what it is the base64 or hexadecimal text of."""
    yield key
    text = b"".join(key.split()).translate(_URL_SAFE)
    with suppress(ValueError):
        yield b64decode(text + b"=" * (-len(text) % 4), validate=True)
    with suppress(ValueError):
        yield bytes.fromhex(text.decode())


def _is_jwk(text: bytes) -> bool:
    """True for a JSON Web Key of a pair, and for a set of keys (RFC 7517)."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and ("keys" in document or document.get("kty") in ("RSA", "EC", "OKP"))


def _is_der(text: bytes) -> bool:
    for load in (load_der_public_key, load_der_x509_certificate):
        with suppress(ValueError, UnsupportedAlgorithm):
            load(text)
            return True
    return False
