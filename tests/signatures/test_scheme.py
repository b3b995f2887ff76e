"""The scheme itself: what a user can say with it, and what it refuses."""

import hmac
import json
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hookbot.errors import BadSignature, ConfigError
from hookbot.protocol.bodies import UNVERIFIED
from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.scheme import MAX_SIGNATURES, Scheme
from support.signature_samples import BODY, FORM, JSON, NOW, SAMPLE, SECRET, WHSEC, sign, verify


def test_github_with_both_signatures_is_judged_by_sha_256() -> None:
    github = load_provider("github")
    assert isinstance(github, Scheme)
    assert github.fallback is not None
    both = github.fallback.sign(github.sign(SignedRequest(BODY), SECRET, now=NOW), SECRET, now=NOW)
    only_sha1 = both.without(["X-Hub-Signature-256"])
    wrong_sha256 = only_sha1.put("X-Hub-Signature-256", "sha256=" + "0" * 64)

    assert verify("github", both) == verify("github", only_sha1)
    with pytest.raises(BadSignature, match="X-Hub-Signature-256 is not the HMAC-SHA256"):
        verify("github", wrong_sha256)


def test_a_github_delivery_id_is_told_and_is_no_proof_against_replay() -> None:
    proof = verify("github", sign("github", SignedRequest(BODY, (("X-GitHub-Delivery", "72d3162e"),))))

    assert (proof.delivery_id, proof.replay_key) == ("72d3162e", None)


def test_of_several_signatures_one_has_to_be_right_and_those_of_other_versions_do_not_count() -> None:
    signed = sign("pagerduty", SignedRequest(BODY))
    right = signed.need("X-PagerDuty-Signature")
    wrong = "v1=" + "0" * 64

    assert verify("pagerduty", signed.put("X-PagerDuty-Signature", f"{wrong}, {right}")).key == 0
    with pytest.raises(BadSignature, match="no signature of the form v1=<hex>"):
        verify("pagerduty", signed.put("X-PagerDuty-Signature", right.replace("v1", "v2")))


def test_so_many_signatures_that_checking_them_would_be_work_are_not_all_looked_at() -> None:
    right = sign("pagerduty", SignedRequest(BODY)).need("X-PagerDuty-Signature")
    many = ",".join(["v1=" + "0" * 64] * MAX_SIGNATURES + [right])

    with pytest.raises(BadSignature):
        verify("pagerduty", SignedRequest(BODY, (("X-PagerDuty-Signature", many),)))


def test_bytes_cannot_move_from_the_body_into_the_id() -> None:
    body = b"1700000000.hello"
    signed = SAMPLE["standard-webhooks"].provider.sign(SignedRequest(body), WHSEC, now=NOW)
    moved = replace(signed, body=b"hello").put("webhook-id", f"{signed.need('webhook-id')}.1700000000")

    with pytest.raises(BadSignature, match=r"the id contains '\.'"):
        verify("standard-webhooks", moved, WHSEC)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"algorithm": "md5"}, "one of hmac-sha1, hmac-sha256"),
        ({"encoding": "text"}, "one of hex, base64"),
        ({"unit": "minutes"}, "one of s, ms, rfc3339"),
        ({"key_encoding": "rot13"}, "one of hex, base64, text"),
        ({"template": "constant"}, "no part of the request"),
        ({"template": "{body}{host}"}, "unknown {host}"),
        ({"template": "{timestamp}.{body}"}, "does not name its place"),
        ({"timestamp": "X-Time"}, "so it is not signed"),
        ({"id": "X-Id"}, "so it is not signed"),
        ({"timestamp": "json:at|X-Time"}, "so it is not signed"),
        ({"id": "json:id|X-Id"}, "so it is not signed"),
        ({"header": "X Signature"}, "not a place"),
        ({"header": "json:a[b]"}, "not a place"),
        ({"max_age": 0}, "more than 0"),
        ({"max_age": float("nan")}, "more than 0"),
        ({"max_age": "300"}, "must be a number"),
        ({"max_age": True}, "must be a number"),
        ({"header": 5}, "must be a str"),
        ({"name": "other"}, "no option 'name'"),
        ({"fallback": None}, "no option 'fallback'"),
    ],
)
def test_options_that_cannot_be_are_an_error_of_the_configuration(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_provider("hmac", options)

    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("adyen", "not hex"),
        ("standard-webhooks", "whsec_***"),
        ("standard-webhooks", "whpk_AAAA"),
        ("discord", "abcd"),
        ("sendgrid", "AAAA"),
        ("basic", "no colon"),
        ("aws-sns", "MyTopic"),
        ("paypal", "a|b"),
        ("gitlab", ""),
        ("jwt", "short"),
        ("jwt", "-----BEGIN PUBLIC KEY-----"),
        ("jwt", '{"keys": []}'),
    ],
)
def test_a_secret_that_cannot_be_one_is_an_error_of_the_configuration_and_not_told(name: str, secret: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_provider(name).check(secret)

    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize("name", ["standard-webhooks", "gitlab"])
def test_a_secret_may_be_copied_with_the_version_of_its_signatures(name: str) -> None:
    provider = load_provider(name)
    signed = provider.sign(SignedRequest(BODY, (("webhook-id", "msg_1"),)), WHSEC, now=NOW)
    copied = f"v1,{WHSEC}"
    provider.check(copied)
    assert provider.verify(signed, ["whsec_QUJD", copied], now=NOW).key == 1


def test_a_public_key_may_be_copied_with_the_version_of_its_signatures() -> None:
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    public = b64encode(private.public_key().public_bytes_raw()).decode()
    secret = b64encode(private.private_bytes_raw()).decode()
    provider = load_provider("standard-webhooks")
    request = SignedRequest(BODY, (("webhook-id", "msg_1"),))
    for copied, key in ((f"v1a,whsk_{secret}", f"whpk_{public}"), (f"whsk_{secret}", f"v1a,whpk_{public}")):
        assert provider.verify(provider.sign(request, copied, now=NOW), [key], now=NOW).key == 0


@pytest.mark.parametrize("separator", [" ", "|", ",", " v1,"])
def test_several_secrets_in_one_are_told_to_be_so(separator: str) -> None:
    with pytest.raises(ConfigError, match="holds several: give each of them alone"):
        load_provider("standard-webhooks").check(f"v1,{WHSEC}{separator}{WHSEC}")


@pytest.mark.parametrize(
    ("name", "options", "secret"),
    [
        ("github", {}, "sha256=" + "ab" * 32),
        ("stripe", {}, "v1=" + "ab" * 32),
        ("slack", {}, "v0=" + "ab" * 32),
        ("standard-webhooks", {}, "v1,QUJD"),
        ("header", {"header": "Authorization", "prefix": "Bearer "}, "Bearer abcd"),
        ("basic", {}, "Basic dXNlcjpwYXNz"),
    ],
)
def test_a_copy_of_what_is_sent_is_no_secret(name: str, options: dict[str, Any], secret: str) -> None:
    with pytest.raises(ConfigError, match=r"begins with '.*', as what it sends does: give it alone") as caught:
        load_provider(name, options).check(secret)
    assert secret not in str(caught.value)


def test_letters_before_a_signature_may_begin_a_secret() -> None:
    load_provider("hmac", {"prefix": "sig"}).check("signed and sealed")


@pytest.mark.parametrize(("name", "secret"), [("discord", "00" * 33), ("sendgrid", SAMPLE["sendgrid"].secret)])
def test_a_public_key_cannot_sign(name: str, secret: str) -> None:
    with pytest.raises(ConfigError, match="private key"):
        load_provider(name).sign(SignedRequest(BODY), secret, now=NOW)


def test_a_signature_that_belongs_into_the_body_wants_a_json_object() -> None:
    with pytest.raises(ConfigError, match="must be a JSON object"):
        load_provider("mailgun").sign(SignedRequest(b"text"), SECRET, now=NOW)


# --- schemes of our own

TIMED = {"template": "{timestamp}{body}", "timestamp": "X-Time"}


def scheme(**options: Any) -> Scheme:
    return Scheme(name="acme", documentation="https://acme.example/webhooks", **options)


EVERYTHING = SignedRequest(
    b'{"id": "7", "at": 1700000000}',
    (("X-Time", "1700000000"), ("X-Id", "8")),
    "PUT",
    "https://example.com/in?a=b",
)
EMPTY = SignedRequest()
ONE_FIELD = SignedRequest(b"payload=%7B%7D", FORM)
NO_PAYLOAD = SignedRequest(b"b=2&a=1", FORM)
MORE_FIELDS = SignedRequest(b"payload=x&b=2&a=1&b=2", FORM)


@pytest.mark.parametrize(
    ("template", "request_", "text"),
    [
        ("{body}", EVERYTHING, b'{"id": "7", "at": 1700000000}'),
        ("v0:{timestamp}:{id}", EVERYTHING, b"v0:1700000000:8"),
        ("{method} {url}", EVERYTHING, b"PUT https://example.com/in?a=b"),
        ("{payload}", EVERYTHING, b'{"id": "7", "at": 1700000000}'),
        ("{payload}", ONE_FIELD, b"{}"),
        ("{payload}", NO_PAYLOAD, b"b=2&a=1"),
        ("{form}", MORE_FIELDS, b"a1b2payloadx"),
    ],
)
def test_a_template_says_what_is_signed(template: str, request_: SignedRequest, text: bytes) -> None:
    places = {part: place for part, place in (("timestamp", "X-Time"), ("id", "X-Id")) if f"{{{part}}}" in template}
    signature = hmac.digest(SECRET.encode(), text, "sha256").hex()

    proof = scheme(template=template, **places).verify(request_.put("X-Signature", signature), [SECRET], now=NOW)

    assert proof.fingerprint == sha256(text).hexdigest()


@pytest.mark.parametrize(
    ("options", "covers"),
    [
        ({}, ("body",)),
        ({"template": "{method}{url}{payload}"}, ("method", "url", "body")),
        ({"template": "{form}"}, ("body",)),
        ({"template": "{timestamp}{body}", "timestamp": "X-Time"}, ("timestamp", "body")),
        ({"timestamp": "json:at", "id": "json:id"}, ("body", "timestamp", "id")),
    ],
)
def test_a_scheme_covers_what_it_signs(options: dict[str, str], covers: tuple[str, ...]) -> None:
    assert scheme(**options).covers == covers
    assert scheme(**options).options == (("max_age",) if "timestamp" in covers else ())


@pytest.mark.parametrize("name", ["gitea", "forgejo", "gogs", "hmac"])
@pytest.mark.parametrize("rest", ["", "&x=", "&payload="])
def test_signed_json_does_not_pass_for_a_form_with_a_payload(name: str, rest: str) -> None:
    provider = load_provider(name, {"template": "{payload}"} if name == "hmac" else {})
    chosen = f"&payload={quote(json.dumps({'forged': True}))}{rest}"
    signed = provider.sign(SignedRequest(json.dumps({"message": chosen}).encode(), JSON), SECRET, now=NOW)
    assert provider.verify(signed, [SECRET], now=NOW).key == 0

    as_form = replace(signed, headers=(*FORM, *signed.headers[1:]))
    with pytest.raises(BadSignature, match="with other fields"):
        provider.verify(as_form, [SECRET], now=NOW)


@pytest.mark.parametrize("name", ["github", "gitea", "hmac"])
def test_json_may_be_called_a_form_as_curl_does(name: str) -> None:
    signed = sign(name, SignedRequest(b'{"message": "a&b=c"}', FORM))
    assert verify(name, signed).key == 0


@pytest.mark.parametrize("body", [b"anything", b""])
def test_the_fields_of_a_form_are_signed_only_if_there_are_some(body: bytes) -> None:
    request = SignedRequest(body, url="https://example.com/in").put(
        "X-Signature", hmac.digest(SECRET.encode(), b"https://example.com/in", "sha256").hex()
    )

    with pytest.raises(BadSignature, match="the body has none"):
        scheme(template="{url}{form}").verify(request, [SECRET], now=NOW)


@pytest.mark.parametrize(
    ("options", "headers", "reason"),
    [
        ({}, {}, "X-Signature is missing"),
        ({}, {"X-Signature": "x"}, "is not hex"),
        ({}, {"X-Signature": "00" * 31}, "is not the HMAC-SHA256 of anything: 31 bytes"),
        ({"separator": ","}, {"X-Signature": "00,11"}, "is not the HMAC-SHA256 of anything"),
        ({"prefix": "v1="}, {"X-Signature": "00"}, "no signature of the form"),
        (TIMED, {"X-Signature": "00" * 32}, "X-Time is missing"),
        (TIMED, {"X-Signature": "00" * 32, "X-Time": "x"}, "the timestamp is malformed"),
        (TIMED, {"X-Signature": "00" * 32, "X-Time": "1600000000"}, "the limit is 300 seconds"),
        ({"template": "{id}{body}", "id": "X-Id"}, {"X-Signature": "00" * 32}, "X-Id is missing"),
        ({"header": "X-New", "fallback": scheme()}, {}, "X-Signature is missing"),
        ({"header": "query:sign"}, {}, "'sign' is missing"),
    ],
)
def test_a_head_without_what_belongs_there_is_refused(
    options: dict[str, Any], headers: dict[str, str], reason: str
) -> None:
    with pytest.raises(BadSignature, match=reason):
        scheme(**options).check_head(SignedRequest(headers=tuple(headers.items())), [SECRET], now=NOW)


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({}, {"X-Signature": "00" * 32}),
        ({"header": "json:sign"}, {}),
        ({"header": "X-Sign|json:sign"}, {}),
        ({"timestamp": "json:at", "id": "json:id"}, {"X-Signature": "00" * 32}),
    ],
)
def test_what_may_be_in_the_body_is_not_missed_in_the_head(options: dict[str, Any], headers: dict[str, str]) -> None:
    scheme(**options).check_head(SignedRequest(headers=tuple(headers.items())), [SECRET], now=NOW)


@pytest.mark.parametrize(
    ("options", "parses"),
    [
        ({}, False),
        ({"timestamp": "json:at", "id": "json:id", "delivery": "json:delivery"}, False),
        ({"header": "json:sign"}, True),
        ({"template": "{timestamp}{body}", "timestamp": "json:at"}, True),
        ({"template": "{form}"}, True),
        ({"template": "{payload}"}, True),
    ],
)
def test_a_body_is_parsed_before_it_is_verified_only_if_the_signed_text_is_in_it(
    options: dict[str, Any], parses: bool
) -> None:
    assert scheme(**options).parses_body == parses


def test_a_delivery_whose_id_is_in_a_body_too_large_to_parse_is_known_by_its_fingerprint() -> None:
    acme = scheme(id="json:id", delivery="json:id")
    signed = acme.sign(SignedRequest(b'{"id": 7}' + b" " * UNVERIFIED.json_bytes), SECRET, now=NOW)

    proof = acme.verify(signed, [SECRET], now=NOW)

    assert (proof.replay_key, proof.delivery_id) == (proof.fingerprint, None)


def test_an_id_is_made_where_one_is_signed_and_kept_where_there_is_one() -> None:
    acme = scheme(template="{id}.{body}", id="X-Id")

    made = acme.sign(SignedRequest(BODY), SECRET, now=NOW)
    kept = acme.sign(SignedRequest(BODY, (("X-Id", "7"),)), SECRET, now=NOW)

    assert made.need("X-Id").startswith("msg_")
    assert acme.verify(made, [SECRET], now=NOW).replay_key == made.need("X-Id")
    assert acme.verify(kept, [SECRET], now=NOW).replay_key == "7"


def test_an_id_in_the_body_is_not_made() -> None:
    signed = scheme(id="json:id").sign(SignedRequest(b"{}"), SECRET, now=NOW)

    assert signed.body == b"{}"
    assert scheme(id="json:id").verify(signed, [SECRET], now=NOW).replay_key is None


def test_time_and_signature_may_share_a_header() -> None:
    acme = scheme(header="X-Sig", prefix="v1=", separator=",", template="{timestamp}{body}", timestamp="X-Sig[t]")

    signed = acme.sign(SignedRequest(BODY), SECRET, now=NOW)

    assert signed.need("X-Sig").startswith("t=1700000000,v1=")
    assert acme.verify(signed, [SECRET], now=NOW).signed_at == NOW


@pytest.mark.parametrize(("encoding", "value"), [("hex", "xyz"), ("hex", "abc"), ("base64", "***")])
def test_a_signature_in_another_encoding_is_refused(encoding: str, value: str) -> None:
    request = SignedRequest(BODY, (("X-Signature", value),))

    with pytest.raises(BadSignature, match=f"the signature in the header X-Signature is not {encoding}"):
        scheme(encoding=encoding).verify(request, [SECRET], now=NOW)


@pytest.mark.parametrize(
    ("options", "secret"),
    [
        ({"key_encoding": "text"}, "key"),
        ({"key_encoding": "hex"}, "6b6579"),
        ({"key_encoding": "base64"}, "a2V5"),
        ({"key_encoding": "base64"}, "a2V5MQ"),
        ({"key_prefix": "a_|b_"}, "a_key"),
        ({"key_prefix": "a_|b_"}, "b_key"),
        ({"key_prefix": "a_|b_"}, "key"),
        ({"key_prefix": "b_", "key_encoding": "base64"}, "b_a2V5MQ=="),
    ],
)
def test_a_key_is_decoded_without_its_prefix(options: dict[str, str], secret: str) -> None:
    key = b"key1" if "MQ" in secret else b"key"
    signature = hmac.digest(key, BODY, "sha256").hex()

    assert scheme(**options).verify(SignedRequest(BODY, (("X-Signature", signature),)), [secret], now=NOW).key == 0


def test_a_key_in_pem_needs_no_encoding() -> None:
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    acme = scheme(algorithm="ed25519", key_encoding="base64")

    assert acme.verify(acme.sign(SignedRequest(BODY), private, now=NOW), [public], now=NOW).key == 0
    with pytest.raises(ConfigError, match="must be a key for Ed25519: it is a key of another algorithm"):
        scheme(algorithm="ed25519").check(elliptic_pem())


def elliptic_pem() -> str:
    public = generate_private_key(SECP256R1()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


# -- signed anew


@pytest.mark.parametrize(
    ("name", "secret", "headers"),
    [
        ("standard-webhooks", WHSEC, ("svix-id", "svix-timestamp", "svix-signature")),
        ("standard-webhooks", WHSEC, ("webhook-id", "webhook-timestamp", "webhook-signature")),
        ("forgejo", "secret", ("X-Forgejo-Signature", "X-Gitea-Signature")),
        ("github", "secret", ("X-Hub-Signature-256", "X-Hub-Signature")),
        ("github", "secret", ("X-Hub-Signature",)),
    ],
)
def test_a_new_signature_stands_wherever_there_was_one(name: str, secret: str, headers: tuple[str, ...]) -> None:
    request = SignedRequest(b"{}", (("X-A", "1"), *((header, "old") for header in headers)))

    signed = load_provider(name).sign_anew(request, secret, now=NOW, id="new")

    assert {name for name, _ in signed.headers} == {"X-A", *headers}
    for header in (header for header in headers if "ignature" in header):
        others = {other for other in headers if "ignature" in other and other != header}
        assert load_provider(name).verify(signed.without(others), [secret], now=NOW)


def test_an_id_is_found_at_any_of_its_places_if_the_signature_has_only_one() -> None:
    options = {"template": "{id}{body}", "id": "X-Id|X-Other-Id"}
    request = SignedRequest(b"{}", (("X-Other-Id", "1"),))

    signed = load_provider("hmac", options).sign_anew(request, "secret", now=NOW, id="new")

    assert [name for name, _ in signed.headers] == ["X-Other-Id", "X-Signature"]


def test_an_id_that_is_signed_and_missing_is_the_one_given_or_made_up() -> None:
    made_up = load_provider("standard-webhooks").sign_anew(SignedRequest(b"{}"), WHSEC, now=NOW, id="")
    signed = load_provider("standard-webhooks").sign_anew(SignedRequest(b"{}"), WHSEC, now=NOW, id="msg-1")

    assert signed.need("webhook-id") == "msg-1"
    assert made_up.need("webhook-id").startswith("msg_")
