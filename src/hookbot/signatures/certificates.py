"""Providers that verify with a certificate, which the sender publishes at an address that each request names.

The address is pinned to hosts of the sender, so that the certificate is as genuine as the TLS connection over which it
is fetched. Its name and dates are checked, and its chain as well if trusted roots are configured.
"""

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.x509 import verification

from ..errors import BadSignature, ConfigError
from .provider import CertificateNeeded, Provider
from .weak_keys import WeakKey, check_public

# A sender uses a few certificates. Clients choose which are fetched, so a full cache is cleared to bound its memory.
MAX_CERTIFICATES = 64

DIGESTS = {"sha1": SHA1, "sha256": SHA256}


@dataclass(frozen=True, kw_only=True)
class CertificateProvider(Provider):
    """Provider whose certificates are fetched by the caller, cached and checked."""

    roots: str = field(default="", repr=False)
    """Trusted root certificates in PEM; if empty, TLS to the pinned host is trusted instead."""
    cache: MutableMapping[str, bytes] = field(default_factory=dict, repr=False, compare=False)
    """Fetched certificates in PEM, by address. The code that catches `CertificateNeeded` fills it."""

    def __post_init__(self) -> None:
        """Raise `ConfigError` if `roots` is not PEM."""
        if self.roots:
            self._store()

    def with_options(self, options: Mapping[str, Any]) -> Self:
        """The same provider with some options set and a cache of its own; raises `ConfigError`."""
        return replace(super().with_options(options), cache={})

    def signed_by(self, url: str, names: Callable[[str], bool], now: float) -> RSAPublicKey:
        """Public key of the certificate at `url`, which the caller has checked to be an address of the sender.

        `names` is true for a host name of the sender. Raises `CertificateNeeded` if the certificate is not cached,
        or `BadSignature` if it is not to be trusted at the time `now`.
        """
        if url not in self.cache:
            if len(self.cache) >= MAX_CERTIFICATES:
                self.cache.clear()
            raise CertificateNeeded(url, self.cache)
        try:
            leaf, *others = x509.load_pem_x509_certificates(self.cache[url])
            key = leaf.public_key()
        except ValueError:
            raise BadSignature(f"there is no certificate at {url}") from None
        moment = datetime.fromtimestamp(now, UTC)
        if not leaf.not_valid_before_utc <= moment <= leaf.not_valid_after_utc:
            raise BadSignature(f"the certificate at {url} is not valid at this time")
        name = next(filter(names, _names(leaf)), None)
        if name is None or not isinstance(key, RSAPublicKey):
            raise BadSignature(f"the certificate at {url} is not an RSA certificate of {self.name}")
        try:
            check_public(key)
        except WeakKey as error:
            raise BadSignature(f"the certificate at {url} proves nothing: {error}") from None
        if self.roots:
            self._check_chain(leaf, others, name, moment, url)
        return key

    def _check_chain(
        self, leaf: x509.Certificate, others: list[x509.Certificate], name: str, moment: datetime, url: str
    ) -> None:
        policy = verification.PolicyBuilder().store(self._store()).time(moment)
        verifier = policy.build_server_verifier(x509.DNSName(name))
        try:
            verifier.verify(leaf, others)
        except verification.VerificationError as error:
            raise BadSignature(f"the certificate at {url} does not lead to a trusted root: {error}") from None

    def _store(self) -> verification.Store:
        try:
            return verification.Store(x509.load_pem_x509_certificates(self.roots.encode()))
        except ValueError:
            raise ConfigError(f"the option roots of {self.name} contains no certificates in PEM") from None


def is_signature(key: RSAPublicKey, signature: bytes, content: bytes, digest: str) -> bool:
    """True if `signature` is right for `content`, by RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2)."""
    try:
        key.verify(signature, content, PKCS1v15(), DIGESTS[digest]())
    except InvalidSignature:
        return False
    return True


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        names = extension.value.get_values_for_type(x509.DNSName)
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        names = []
    common = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return [*names, *(str(attribute.value) for attribute in common)]
