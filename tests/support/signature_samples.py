"""For every provider a request that it might send, and the secrets that belong to it."""

import json
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hookbot.signatures import Proof, Provider, SignedRequest, load_provider
from hookbot.signatures.certificates import CertificateProvider
from support.certificate_authority import PAYPAL, SNS, TOPIC

NOW = 1_700_000_000.0
JSON = (("Content-Type", "application/json"),)
FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
EVENT = {"id": "evt_1", "event_id": "Ev1", "notification_id": "ntf_1", "event": {"id": "01B"}, "text": "Grüße"}
BODY = json.dumps(EVENT, ensure_ascii=False).encode()
URL = "https://hooks.example.com/unsafe/pub/in?a=b"


@dataclass(frozen=True)
class Sample:
    """A request, and both halves of its secret (the same unless the keys are asymmetric)."""

    name: str
    secret: str
    other: str
    signing: str = ""
    request: SignedRequest = field(default_factory=lambda: SignedRequest(BODY, JSON, "POST", URL))
    options: Mapping[str, Any] = field(default_factory=dict)
    signer: Callable[[SignedRequest, float], SignedRequest] | None = None
    body_is_signed: bool = True
    label: str = ""

    @property
    def provider(self) -> Provider:
        """The provider, with the options of the sample."""
        provider = load_provider(self.name, self.options)
        if self.name in AUTHORITIES:
            assert isinstance(provider, CertificateProvider)
            provider.cache.update(AUTHORITIES[self.name].published())
        return provider

    def signed(self, now: float = NOW) -> SignedRequest:
        """The request as the real sender would send it."""
        if self.signer:
            return self.signer(self.request, now)
        return self.provider.sign(self.request, self.signing or self.secret, now=now)


AUTHORITIES = {"aws-sns": SNS, "paypal": PAYPAL}


def raw(key: Ed25519PrivateKey) -> tuple[bytes, bytes]:
    """Seed and public key, 32 bytes each."""
    return key.private_bytes_raw(), key.public_key().public_bytes_raw()


@cache
def elliptic_keys(number: int) -> tuple[str, str]:
    """Private and public key in base64 of DER, as SendGrid shows the latter."""
    key = generate_private_key(SECP256R1())
    private = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(private).decode(), b64encode(public).decode()


SEED, PUBLIC = raw(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
_, OTHER_PUBLIC = raw(Ed25519PrivateKey.from_private_bytes(bytes(32)))
WHSEC, OTHER_WHSEC = (f"whsec_{b64encode(byte * 24).decode()}" for byte in (b"s", b"t"))
LINEAR = SignedRequest(b'{"action":"create"}', JSON)
FORM_REQUEST = SignedRequest(b"Digits=1234&CallSid=CA1234&Empty=", FORM, "POST", URL)
ADYEN_ITEM = {
    "additionalData": {},
    "amount": {"value": 1130, "currency": "EUR"},
    "pspReference": "7914073381342284",
    "eventCode": "AUTHORISATION",
    "merchantAccountCode": "TestMerchant",
    "merchantReference": "TestPayment-1407325143704",
    "success": "true",
}
GRAPH = SignedRequest(b'{"value":[{"clientState":"my-state","changeType":"created"}]}', JSON)


def body_sample(name: str, **changes: Any) -> Sample:
    """A sample of a provider whose secret is any text."""
    return replace(Sample(name, "correct-secret-of-some-length-0123456789", "another-secret"), **changes)


SAMPLES = (
    *map(body_sample, ("github", "bitbucket", "gitea", "forgejo", "gogs", "shopify", "sentry", "docusign", "intercom")),
    *map(body_sample, ("pagerduty", "typeform", "servicestack", "dropbox", "meta", "x", "stripe", "slack", "zoom")),
    *map(body_sample, ("paddle", "twitch", "square", "hubspot", "twilio", "hmac")),
    body_sample("shopify-proxy", request=SignedRequest(b"", (), "GET", URL), body_is_signed=False),
    body_sample("gitea", label="form", request=SignedRequest(b"payload=%7B%22a%22%3A+1%7D", FORM)),
    body_sample("twilio", label="form", request=FORM_REQUEST),
    body_sample(
        "hmac",
        label="everything",
        options={
            "header": "X-Sig",
            "prefix": "s1=",
            "separator": ",",
            "algorithm": "hmac-sha512",
            "encoding": "base64",
            "template": "{id}:{timestamp}:{method}:{body}",
            "timestamp": "X-Time",
            "unit": "ms",
            "id": "X-Id",
            "max_age": 60,
        },
    ),
    body_sample("linear", request=LINEAR),
    body_sample("mailgun", request=SignedRequest(b'{"event-data":{}}', JSON), body_is_signed=False),
    Sample("adyen", "44" * 32, "55" * 32),
    Sample("discord", PUBLIC.hex(), OTHER_PUBLIC.hex(), signing=SEED.hex()),
    Sample("sendgrid", elliptic_keys(1)[1], elliptic_keys(2)[1], signing=elliptic_keys(1)[0]),
    Sample("gitlab", WHSEC, OTHER_WHSEC, label="signing token"),
    body_sample("gitlab", label="secret token", body_is_signed=False),
    Sample("standard-webhooks", WHSEC, OTHER_WHSEC),
    Sample(
        "standard-webhooks",
        f"whpk_{b64encode(PUBLIC).decode()}",
        f"whpk_{b64encode(OTHER_PUBLIC).decode()}",
        signing=f"whsk_{b64encode(SEED + PUBLIC).decode()}",
        label="v1a",
    ),
    Sample("azure-devops", "user:pass word", "user:other", body_is_signed=False),
    body_sample("azure-event-grid", body_is_signed=False),
    Sample("basic", "user:pass:word", "user:other", body_is_signed=False),
    body_sample("header", options={"header": "X-Acme-Key", "prefix": "Token "}, body_is_signed=False),
    body_sample("header", label="query", options={"header": "query:key"}, body_is_signed=False),
    body_sample("jwt", other="x" * 40, body_is_signed=False),
    body_sample("jwt", label="with the body", other="x" * 40, options={"body_claim": "payload_hash"}),
    Sample(
        "microsoft-graph", "my-state", "no-state", request=GRAPH, signer=lambda request, now: request,
        body_is_signed=False,
    ),
    Sample("aws-sns", TOPIC, f"{TOPIC}-other", signer=SNS.sign, body_is_signed=False),
    Sample("paypal", "1JE4291016473214C", "9ZZ", signer=PAYPAL.sign),
)  # fmt: skip


def sample_id(sample: Sample) -> str:
    """Name of a sample in the names of tests."""
    return f"{sample.name} {sample.label}".strip().replace(" ", "-")


SAMPLE = {sample_id(sample): sample for sample in SAMPLES}
SECRET = "correct-secret"


def verify(name: str, request: SignedRequest, *secrets: str, now: float = NOW, **options: Any) -> Proof:
    return load_provider(name, options).verify(request, secrets or [SECRET], now=now)


def sign(name: str, request: SignedRequest, now: float = NOW, **options: Any) -> SignedRequest:
    return load_provider(name, options).sign(request, SECRET, now=now)
