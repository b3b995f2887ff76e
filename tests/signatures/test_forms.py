"""Forms, as far as they are a part of a signed text."""

import pytest

from hookbot.errors import BadSignature
from hookbot.signatures.forms import fields_of, payload_of
from hookbot.signatures.request import SignedRequest

FORM = (("Content-Type", "application/x-www-form-urlencoded"),)


def test_the_payload_of_a_form_is_its_only_field() -> None:
    assert payload_of(SignedRequest(b"payload=%7B%7D", FORM)) == "{}"


@pytest.mark.parametrize("request_", [SignedRequest(b"payload={}"), SignedRequest(b"a=b&c=d", FORM)])
def test_without_that_field_the_payload_is_the_body(request_: SignedRequest) -> None:
    assert payload_of(request_) == request_.body


def test_a_payload_stands_alone_in_its_form() -> None:
    with pytest.raises(BadSignature, match="other fields besides 'payload'"):
        payload_of(SignedRequest(b"payload={}&a=b", FORM))


def test_fields_are_sorted_and_there_once() -> None:
    assert fields_of(SignedRequest(b"b=2&a=1&b=2", FORM)) == "a1b2"


@pytest.mark.parametrize("headers", [FORM, ()])
def test_there_is_a_field(headers: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(BadSignature, match="the body has none"):
        fields_of(SignedRequest(b"", headers))
