"""Amazon SNS's signatures, over the fields of each message, by a key whose certificate Amazon publishes.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import re
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from ..errors import BadSignature, ConfigError
from .certificates import CertificateProvider, is_signature
from .provider import Proof
from .request import SignedRequest, check_names, split_url
from .timestamps import check_fresh, parse_timestamp

# The host rule of Amazon's validators, but with an optional region: most certificates are for sns.amazonaws.com.
_HOST = re.compile(r"sns\.([a-z0-9-]{3,}\.)?amazonaws\.com(\.cn)?")
_CERTIFICATE_PATH = re.compile(r"/SimpleNotificationService-[A-Za-z0-9]+\.pem")
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_DIGESTS = {"1": "sha1", "2": "sha256"}


@dataclass(frozen=True, kw_only=True)
class AwsSns(CertificateProvider):
    """Provider of Amazon SNS. A secret is the ARN of a topic.

    A signature without the right ARN proves little: anybody with an AWS account can have Amazon sign messages of a
    topic of theirs.
    """

    allow_sha1: bool = True
    """True if SignatureVersion 1 is accepted, which is the default of a topic."""
    max_age: float = 3600.0
    """Seconds. Retries repeat the timestamp, and end after an hour (the limit of SNS for HTTP)."""

    @property
    def covers(self) -> tuple[str, ...]:
        """The fields of the message, among them its time and its id."""
        return ("fields", "timestamp", "id")

    @property
    def options(self) -> tuple[str, ...]:
        """Trusted roots, and the bounds on digest and age."""
        return ("roots", "allow_sha1", "max_age")

    def check(self, secret: str) -> None:
        """Raise `ConfigError` unless the secret is the ARN of a topic."""
        if not re.fullmatch(r"arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]+:\S+", secret):
            raise ConfigError(
                "a secret of aws-sns must be the ARN of a topic, such as arn:aws:sns:eu-west-1:123456789012:x"
            )

    def check_head(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> None:
        """Raise `BadSignature` for raw message delivery."""
        if request.find("x-amz-sns-rawdelivery"):
            raise BadSignature("raw message delivery is not signed; turn it off for this subscription")

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof that Amazon signed the message recently, for one of the topics.

        The `confirm_url` of a SubscriptionConfirmation is an address of Amazon SNS. Raises `BadSignature`, or
        `CertificateNeeded` if the certificate is not cached.
        """
        self.check_head(request, secrets, now=now)
        message = _message(request)
        if message["TopicArn"] not in secrets:
            raise BadSignature(f"the TopicArn is not a topic of this source: {message['TopicArn'][:200]!r}")
        content = _signed_text(message)
        self._check_signature(message, content, now)
        signed_at = parse_timestamp(message["Timestamp"], "rfc3339")
        check_fresh(signed_at, now=now, max_age=self.max_age)
        return Proof(
            key=secrets.index(message["TopicArn"]),
            fingerprint=sha256(content).hexdigest(),
            signed_at=signed_at,
            replay_key=message["MessageId"],
            confirm_url=_confirm_url(message) if message["Type"] == "SubscriptionConfirmation" else None,
        )

    def _check_signature(self, message: dict[str, str], content: bytes, now: float) -> None:
        digest = _DIGESTS.get(message["SignatureVersion"])
        if digest is None or (digest == "sha1" and not self.allow_sha1):
            raise BadSignature(f"SignatureVersion {message['SignatureVersion'][:20]!r} is not accepted")
        url = message["SigningCertURL"]
        scheme, host, path = split_url(url)
        if (
            scheme != "https"
            or not _HOST.fullmatch(host)
            or not _CERTIFICATE_PATH.fullmatch(path)
            or not url.endswith(path)
        ):
            raise BadSignature(f"SigningCertURL is not a URL of Amazon SNS: {url[:200]!r}")
        key = self.signed_by(url, lambda name: _HOST.fullmatch(name) is not None, now)
        try:
            signature = b64decode(message["Signature"], validate=True)
        except ValueError:
            raise BadSignature("the field Signature is not base64") from None
        if not is_signature(key, signature, content, digest):
            raise BadSignature(f"the field Signature does not match the {len(content)} bytes of signed fields")


def _message(request: SignedRequest) -> dict[str, str]:
    document: Any = request.json()
    if not isinstance(document, dict):
        raise BadSignature("the body is not an SNS message")
    type_ = document.get("Type")
    if not isinstance(type_, str) or type_ not in _SIGNED:
        raise BadSignature(f"the body is not an SNS message: its Type is missing or none of {', '.join(_SIGNED)}")
    check_names(document, _SIGNED[type_])
    for name in (*_SIGNED[type_], "Signature", "SignatureVersion", "SigningCertURL"):
        if name != "Subject" and not isinstance(document.get(name), str):
            raise BadSignature(f"the body is not an SNS message: {name} is missing")
    if not isinstance(document.get("Subject"), str | None):
        raise BadSignature("the body is not an SNS message: Subject is not a string")
    for name in _SIGNED[type_]:
        # Line feeds separate the signed fields. Only the first, Message, may have some: it is what the others leave.
        if name != "Message" and "\n" in (document.get(name) or ""):
            raise BadSignature(f"the body is not an SNS message: {name} has a line feed")
    return {name: value for name, value in document.items() if isinstance(value, str)}


def _signed_text(message: dict[str, str]) -> bytes:
    pairs = ((name, message[name]) for name in _SIGNED[message["Type"]] if name in message)
    return "".join(f"{name}\n{value}\n" for name, value in pairs).encode("utf-8", "surrogatepass")


def _confirm_url(message: dict[str, str]) -> str:
    url = message["SubscribeURL"]
    scheme, host, path = split_url(url)
    if scheme != "https" or not _HOST.fullmatch(host) or path != "/":
        raise BadSignature(f"SubscribeURL is not a URL of Amazon SNS: {url[:200]!r}")
    return url
