"""Providers that sign the URL, in the spelling of each."""

from dataclasses import replace
from hashlib import sha256
from urllib.parse import quote

import pytest

from hookbot.errors import BadSignature
from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.signed_urls import Twilio
from support.signature_samples import BODY, FORM_REQUEST, JSON, NOW, SAMPLE, SECRET, sign, verify


@pytest.mark.parametrize("name", ["square", "hubspot", "twilio"])
def test_the_address_is_covered_and_has_to_be_known(name: str) -> None:
    signed = SAMPLE[name].signed()

    with pytest.raises(BadSignature):
        verify(name, replace(signed, url=signed.url.replace("in", "out")), SAMPLE[name].secret)
    with pytest.raises(BadSignature, match=r"does not know the URL|'bodySHA256' is missing"):
        verify(name, replace(signed, url=""), SAMPLE[name].secret)


def test_hubspot_signs_some_escapes_decoded_and_others_not() -> None:
    request = SignedRequest(BODY, JSON, url="https://example.com/in?next=https%3A%2F%2Fa%20b")
    decoded = replace(request, url="https://example.com/in?next=https://a%20b")

    assert verify("hubspot", replace(sign("hubspot", decoded), url=request.url)).key == 0


def test_a_path_cannot_pass_for_the_beginning_of_a_query_of_hubspot() -> None:
    signed = sign("hubspot", SignedRequest(BODY, JSON, url="https://example.com/in?a=b"))

    with pytest.raises(BadSignature, match="escaped question mark"):
        verify("hubspot", replace(signed, url="https://example.com/in%3fa=b"))


def test_the_fields_of_twilios_form_regrouped_are_the_same_delivery() -> None:
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    signed = sign("twilio", SignedRequest(b"Body=hiFrom%2B1&To=x", form, url="https://example.com/in"))
    regrouped = replace(signed, body=b"Body=hi&From=%2B1&To=x")

    first = verify("twilio", signed)
    assert first.replay_key == verify("twilio", regrouped).replay_key == first.fingerprint


def test_the_query_of_twilio_has_the_hash_of_a_body_that_is_no_form() -> None:
    signed = SAMPLE["twilio"].signed()

    with pytest.raises(BadSignature, match="'bodySHA256' is not the SHA-256 of the body"):
        verify("twilio", replace(signed, body=b"{}"), SAMPLE["twilio"].secret)
    with pytest.raises(BadSignature, match="'bodySHA256' is missing"):
        verify("twilio", SignedRequest(BODY, JSON, url="https://example.com/"))


def test_the_query_of_twilio_gets_the_hash_when_it_is_signed_here() -> None:
    signed = sign("twilio", SignedRequest(BODY, JSON, url="https://example.com/in"))

    assert signed.find("query:bodySHA256") == sha256(BODY).hexdigest()
    assert verify("twilio", signed).key == 0


@pytest.mark.parametrize("body", [b"", BODY])
def test_the_fields_of_twilios_form_do_not_pass_for_the_end_of_its_url(body: bytes) -> None:
    hash_ = f"&bodySHA256={sha256(BODY).hexdigest()}&z="
    form = (("Content-Type", "application/x-www-form-urlencoded"),)
    sent = SignedRequest(f"Body={quote(hash_)}&To=x".encode(), form, url="https://example.com/in?a=b")
    signed = sign("twilio", sent)
    assert verify("twilio", signed).key == 0
    moved = replace(signed, body=body, headers=(*JSON, signed.headers[-1]), url=f"{sent.url}Body{hash_}Tox")

    with pytest.raises(BadSignature, match=r"is not the last one|the body has none"):
        verify("twilio", moved)
    with pytest.raises(BadSignature):
        verify("twilio", replace(moved, headers=signed.headers))


def test_the_query_of_twilio_stays_as_it_is_for_a_form() -> None:
    signed = sign("twilio", FORM_REQUEST)

    assert signed.url == FORM_REQUEST.url
    assert verify("twilio", signed).key == 0


@pytest.mark.parametrize(
    ("signed_url", "url"),
    [
        ("https://example.com/in", "https://example.com:443/in"),
        ("https://example.com:443/in", "https://example.com/in"),
        ("http://example.com:80/in?a=b", "http://example.com/in?a=b"),
        ("https://example.com:8443", "https://example.com:8443"),
        ("https://example.com?a=b", "https://example.com:443?a=b"),
        ("https://[2001:db8::1]:443/in", "https://[2001:db8::1]/in"),
        ("https://example.com:443/in", "https://example.com:443/in"),
    ],
)
def test_twilio_signs_the_url_with_its_port_or_without(signed_url: str, url: str) -> None:
    signed = sign("twilio", replace(FORM_REQUEST, url=signed_url))

    assert verify("twilio", replace(signed, url=url)).key == 0


@pytest.mark.parametrize("url", ["http://example.com/in", "https://example.org/in", "https://example.com/In"])
def test_a_url_with_another_scheme_host_or_path_is_not_what_twilio_signed(url: str) -> None:
    signed = sign("twilio", replace(FORM_REQUEST, url="https://example.com/in"))

    with pytest.raises(BadSignature):
        verify("twilio", replace(signed, url=url))


def test_twilio_names_another_algorithm_in_a_header() -> None:
    provider = load_provider("twilio")
    assert isinstance(provider, Twilio)
    signed = replace(provider, algorithm="hmac-sha256").sign(FORM_REQUEST, SECRET, now=NOW)

    named = signed.put("X-Twilio-Webhooks-Signature-Settings", "x=y,algorithm=HMAC_SHA256")

    provider.check_head(named, [SECRET], now=NOW)
    assert verify("twilio", named).key == 0
    with pytest.raises(BadSignature, match="HMAC-SHA1"):
        verify("twilio", signed)
