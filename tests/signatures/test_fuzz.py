"""Arbitrary requests, of which each provider raises `BadSignature` and no other error."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hookbot.errors import BadSignature
from hookbot.signatures import CertificateNeeded, SignedRequest
from support.signature_samples import NOW, SAMPLES, Sample, sample_id

pytestmark = pytest.mark.slow

every_provider = pytest.mark.parametrize("sample", SAMPLES, ids=sample_id)

latin1 = st.text(st.characters(max_codepoint=255), max_size=60)
fragments = st.sampled_from(
    ["sha256=", "sha1=", "v0=", "v1=", "v1,", "v1a,", "t=1700000000,", "ts=1;h1=", "Bearer ", "Basic ", "eyJ", ".", "=",
     "AAAA", "1700000000", "1700000000000", "2023-11-14T22:13:20Z", "application/x-www-form-urlencoded", "0" * 64,
     "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0.pem", "SHA256withRSA"]
)  # fmt: skip
values = st.lists(st.one_of(latin1, fragments), max_size=4).map("".join)
documents = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20), fragments),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=5), st.sampled_from(
            ["signature", "timestamp", "token", "value", "clientState", "notificationItems", "NotificationRequestItem",
             "additionalData", "hmacSignature", "amount", "Type", "Subject", "SigningCertURL", "Signature", "type",
             "challenge", "payload", "plainToken", "event", "webhookTimestamp"]
        )), inner, max_size=4),
    ),
    max_leaves=12,
)  # fmt: skip
bodies = st.one_of(st.binary(max_size=80), documents.map(json.dumps).map(str.encode), st.just(b"\xef\xbb\xbf{}"))
urls = st.one_of(st.text(max_size=60), latin1.map("https://example.com/in?".__add__), st.just("https://[::1"))


@every_provider
@settings(max_examples=20)
@given(data=st.data())
def test_a_good_request_with_its_headers_replaced_is_refused_or_passes(sample: Sample, data: st.DataObject) -> None:
    signed = sample.signed()
    headers = tuple((name, data.draw(st.one_of(st.just(value), values))) for name, value in signed.headers)
    extra = data.draw(st.lists(st.tuples(st.sampled_from([name for name, _ in headers] or ["X"]), values), max_size=2))
    request = SignedRequest(data.draw(st.one_of(st.just(signed.body), bodies)), (*headers, *extra), "POST", signed.url)

    with suppress(BadSignature, CertificateNeeded):
        sample.provider.verify(request, [sample.secret], now=NOW)


@every_provider
@settings(max_examples=20)
@given(body=bodies, url=urls, method=st.sampled_from(["GET", "POST", "BREW"]), value=values)
def test_any_body_and_address_are_refused_or_pass(
    sample: Sample, body: bytes, url: str, method: str, value: str
) -> None:
    headers = tuple((name, value) for name, _ in sample.signed().headers)
    request = SignedRequest(body, headers, method, url)

    with suppress(BadSignature, CertificateNeeded):
        sample.provider.verify(request, [sample.secret], now=NOW)
    with suppress(BadSignature):
        sample.provider.handshake(request, [sample.secret], now=NOW)
