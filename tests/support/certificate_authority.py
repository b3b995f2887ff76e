"""Amazon and PayPal as they are for the tests: certificates of our own, signatures as their documentation has them."""

import json
import zlib
from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hookbot.signatures import SignedRequest

TOPIC = "arn:aws:sns:eu-west-1:123456789012:MyTopic"
SNS_CERTIFICATE = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-01d088a6f77103d0fe307c0069e40ed6.pem"
PAYPAL_CERTIFICATE = "https://api.paypal.com/v1/notifications/certs/CERT-360caa42-fca2a594-1d93a270"
BEGIN = datetime(2023, 1, 1, tzinfo=UTC)


def instant(now: float) -> str:
    """An RFC 3339 time with milliseconds."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make_certificate(
    name: str, key: RSAPrivateKey, issuer: str, issuer_key: RSAPrivateKey, *, ca: bool = False
) -> x509.Certificate:
    """A certificate for three years from 2023, fit for a chain as browsers check it."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN)
        .not_valid_after(BEGIN + timedelta(days=1000))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if ca:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return builder.sign(issuer_key, SHA256())


@dataclass
class Authority:
    """A signer with a certificate that is published at `url`."""

    url: str
    name: str

    @cached_property
    def root_key(self) -> RSAPrivateKey:
        """The key of the root."""
        return generate_private_key(65537, 2048)

    @cached_property
    def key(self) -> RSAPrivateKey:
        """The key that signs requests."""
        return generate_private_key(65537, 2048)

    @cached_property
    def root(self) -> str:
        """The root's certificate, PEM."""
        certificate = make_certificate("Root", self.root_key, "Root", self.root_key, ca=True)
        return certificate.public_bytes(Encoding.PEM).decode()

    @cached_property
    def certificate(self) -> bytes:
        """The certificate, PEM."""
        return make_certificate(self.name, self.key, "Root", self.root_key).public_bytes(Encoding.PEM)

    def published(self) -> dict[str, bytes]:
        """Cache of a hub that has fetched the certificate."""
        return {self.url: self.certificate}

    def signature(self, text: str, digest: HashAlgorithm) -> str:
        """Base64 of RSA with PKCS #1 v1.5."""
        return b64encode(self.key.sign(text.encode(), PKCS1v15(), digest)).decode()


class Sns(Authority):
    """Amazon SNS."""

    def message(self, now: float, version: str = "2", **changes: str) -> dict[str, str]:
        """A signed message; a type other than Notification wants Token and SubscribeURL among the changes."""
        fields = {
            "Type": "Notification",
            "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
            "TopicArn": TOPIC,
            "Subject": "My First Message",
            "Message": "Hello\nworld!",
            "Timestamp": instant(now),
            **changes,
        }
        keys = ("Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
        text = "".join(f"{key}\n{fields[key]}\n" for key in keys if key in fields)
        signature = self.signature(text, SHA256() if version == "2" else SHA1())
        return {**fields, "SignatureVersion": version, "Signature": signature, "SigningCertURL": self.url}

    def confirmation(self, now: float, url: str) -> dict[str, str]:
        """A signed message that wants `url` to be fetched. Its type has no Subject."""
        message = self.message(now, Type="SubscriptionConfirmation", Token="2336412f", SubscribeURL=url)
        del message["Subject"]
        keys = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
        return {**message, "Signature": self.signature("".join(f"{key}\n{message[key]}\n" for key in keys), SHA256())}

    def sign(self, request: SignedRequest, now: float) -> SignedRequest:
        """A notification."""
        return replace(request, body=json.dumps(self.message(now)).encode())


class PayPal(Authority):
    """PayPal."""

    def sign(self, request: SignedRequest, now: float, webhook: str = "1JE4291016473214C") -> SignedRequest:
        """The request with PayPal's headers."""
        text = f"69cd13f0-d67a-11e5|{instant(now)}|{webhook}|{zlib.crc32(request.body)}"
        headers = (
            ("Paypal-Transmission-Id", "69cd13f0-d67a-11e5"),
            ("Paypal-Transmission-Time", instant(now)),
            ("Paypal-Auth-Algo", "SHA256withRSA"),
            ("Paypal-Cert-Url", self.url),
            ("Paypal-Transmission-Sig", self.signature(text, SHA256())),
        )
        return replace(request, headers=(*request.headers, *headers))


SNS = Sns(SNS_CERTIFICATE, "sns.amazonaws.com")
PAYPAL = PayPal(PAYPAL_CERTIFICATE, "messageverificationcerts.paypal.com")
