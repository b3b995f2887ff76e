"""PayPal's signatures, over delivery id, time, webhook id and a checksum of the body, by a published certificate.

The checksum is a CRC-32, which a forged body can be made to match. The body is protected only because the hub accepts
each transmission id once.

https://developer.paypal.com/api/rest/webhooks/rest/
"""

import re
import zlib
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from ..errors import BadSignature, ConfigError
from .certificates import CertificateProvider, is_signature
from .provider import Proof
from .request import SignedRequest, split_url
from .timestamps import MAX_AGE_S, check_fresh, parse_timestamp

RSA_BYTES = range(256, 1025)
"""Sizes of an RSA signature: that of its modulus, of 2048 bits at least."""

_HOSTS = frozenset({"api.paypal.com", "api.sandbox.paypal.com"})
_PATH = re.compile(r"/v1/notifications/certs/[A-Za-z0-9-]+")


@dataclass(frozen=True, kw_only=True)
class PayPal(CertificateProvider):
    """Provider of PayPal. A secret is the id of the webhook, as PayPal's dashboard shows it."""

    max_age: float = MAX_AGE_S

    @property
    def covers(self) -> tuple[str, ...]:
        """The transmission's id and time; of the body only a checksum that can be forged."""
        return ("id", "timestamp", "checksum")

    @property
    def options(self) -> tuple[str, ...]:
        """Trusted roots, and the bound on the age."""
        return ("roots", "max_age")

    def check(self, secret: str) -> None:
        """Raise `ConfigError` unless the secret looks like the id of a webhook."""
        if not re.fullmatch(r"[A-Za-z0-9-]+", secret):
            raise ConfigError("a secret of paypal must be the id of a webhook, such as 1JE4291016473214C")

    @property
    def parses_body(self) -> bool:
        """False: only a checksum of the body is signed."""
        return False

    def check_head(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> None:
        """Raise `BadSignature` if one of the headers is missing, malformed or too old."""
        check_fresh(_Head.read(request).signed_at, now=now, max_age=self.max_age)

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof that PayPal signed the request recently, for one of the webhooks.

        Raises `BadSignature`, or `CertificateNeeded` if the certificate is not cached.
        """
        head = _Head.read(request)
        check_fresh(head.signed_at, now=now, max_age=self.max_age)
        key = self.signed_by(head.certificate_url, lambda name: name.lower().endswith(".paypal.com"), now)
        content, index = _signed(f"{head.transmission}|{head.time}", request.body, secrets, key, head.signature)
        fingerprint = sha256(content).hexdigest()
        return Proof(key=index, fingerprint=fingerprint, signed_at=head.signed_at, replay_key=head.transmission)


@dataclass(frozen=True, slots=True)
class _Head:
    """The headers of a signed request."""

    transmission: str
    time: str
    signed_at: float
    signature: bytes
    certificate_url: str

    @classmethod
    def read(cls, request: SignedRequest) -> "_Head":
        """Read the headers; raises `BadSignature` if one is missing or malformed."""
        transmission = request.need("Paypal-Transmission-Id")
        time = request.need("Paypal-Transmission-Time")
        # The bar separates the signed parts, which must not be shifted against each other.
        if "|" in transmission + time:
            raise BadSignature("the transmission id or time has a '|' in it")
        if request.need("Paypal-Auth-Algo") != "SHA256withRSA":
            raise BadSignature("the header Paypal-Auth-Algo is not SHA256withRSA")
        try:
            signature = b64decode(request.need("Paypal-Transmission-Sig"), validate=True)
        except ValueError:
            raise BadSignature("the header Paypal-Transmission-Sig is not base64") from None
        if len(signature) not in RSA_BYTES:
            raise BadSignature(f"the header Paypal-Transmission-Sig is not an RSA signature: {len(signature)} bytes")
        return cls(transmission, time, parse_timestamp(time, "rfc3339"), signature, _certificate_url(request))


def _signed(
    beginning: str, body: bytes, secrets: Sequence[str], key: RSAPublicKey, signature: bytes
) -> tuple[bytes, int]:
    """The signed content and the index of its webhook; raises `BadSignature` if no webhook matches."""
    checksum = zlib.crc32(body)
    for index, secret in enumerate(secrets):
        content = f"{beginning}|{secret}|{checksum}".encode("utf-8", "surrogatepass")
        if is_signature(key, signature, content, "sha256"):
            return content, index
    raise BadSignature(f"the header Paypal-Transmission-Sig is not PayPal's signature of the CRC-32 {checksum}")


def _certificate_url(request: SignedRequest) -> str:
    url = request.need("Paypal-Cert-Url")
    scheme, host, path = split_url(url)
    if scheme != "https" or host not in _HOSTS or not _PATH.fullmatch(path) or not url.endswith(path):
        raise BadSignature(f"the header Paypal-Cert-Url is not a URL of PayPal's certificates: {url[:200]!r}")
    return url
