"""Shared secrets: API keys, HTTP Basic credentials, and the notifications of Microsoft Graph."""

import json
from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from hookbot.errors import BadSignature, ConfigError
from hookbot.protocol.response import Response
from hookbot.signatures import Proof, SignedRequest, load_provider

NOW = 1_700_000_000.0
BODY = b'{"a": 1}'


def verify(name: str, request: SignedRequest, *secrets: str, **options: str) -> Proof:
    return load_provider(name, options).verify(request, secrets, now=NOW)


def with_header(name: str, value: str) -> SignedRequest:
    return SignedRequest(BODY, ((name, value),))


@pytest.mark.parametrize(
    ("options", "request_"),
    [
        ({}, with_header("x-api-key", "secret")),
        ({"header": "Authorization", "prefix": "Token "}, with_header("Authorization", "token secret")),
        ({"header": "query:key"}, SignedRequest(BODY, url="https://example.com/in?key=secret")),
        ({"header": "json:key"}, SignedRequest(b'{"key": "secret"}')),
    ],
)
def test_an_api_key_is_found_at_its_place(options: dict[str, str], request_: SignedRequest) -> None:
    assert verify("header", request_, "other", "secret", **options).key == 1
    with pytest.raises(BadSignature, match="is wrong"):
        verify("header", request_, "other", "secret2", **options)


def test_a_key_in_the_body_may_have_any_characters() -> None:
    assert verify("header", SignedRequest('{"key": "grüße"}'.encode()), "grüße", header="json:key").key == 0


@pytest.mark.parametrize("options", [{}, {"header": "Authorization", "prefix": "Token "}, {"header": "query:key"}])
@pytest.mark.parametrize("secret", ["secret", "grüße", "a+b&c=d"])
def test_an_api_key_is_put_where_it_is_looked_for(options: dict[str, str], secret: str) -> None:
    provider = load_provider("header", options)

    signed = provider.sign(SignedRequest(BODY, url="https://example.com/in"), secret, now=NOW)

    latin1 = SignedRequest(
        BODY, tuple((name, value.encode().decode("latin-1")) for name, value in signed.headers), url=signed.url
    )
    assert provider.verify(latin1, [secret], now=NOW).key == 0
    assert secret not in repr(signed.without(provider.secret_in))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_address_with_the_key_in_its_query_is_there(method: str) -> None:
    provider = load_provider("header", {"header": "query:key"})
    asked = SignedRequest(url="https://example.com/in?key=secret", method=method)

    assert provider.handshake(asked, ["secret"], now=NOW) == Response(headers=())
    with pytest.raises(BadSignature):
        provider.handshake(asked, ["other"], now=NOW)
    assert provider.handshake(replace(asked, url="https://example.com/in?a=b"), ["secret"], now=NOW) is None
    assert provider.handshake(replace(asked, method="POST"), ["secret"], now=NOW) is None


def test_a_get_with_a_header_is_not_asked_for_a_key() -> None:
    provider = load_provider("header", {"header": "Authorization"})
    listening = SignedRequest(headers=(("Authorization", "Bearer token"),), method="GET")

    assert provider.handshake(listening, ["secret"], now=NOW) is None


def test_a_shared_secret_proves_nothing_of_the_request_and_may_come_with_an_id() -> None:
    request = SignedRequest(BODY, (("X-Api-Key", "secret"), ("X-Delivery", "7")))

    proof = verify("header", request, "secret", delivery="X-Delivery")

    assert load_provider("header").covers == ()
    assert (proof.delivery_id, proof.replay_key, proof.signed_at, proof.bearer) == ("7", None, None, True)
    assert proof.fingerprint == verify("header", with_header("X-Api-Key", "secret"), "secret").fingerprint


@pytest.mark.parametrize("options", [{"header": "a b"}, {"delivery": "json:*"}])
def test_an_option_that_is_no_place_is_an_error_of_the_configuration(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="not a place"):
        load_provider("header", options)


@pytest.mark.parametrize(
    ("name", "secret", "reason"),
    [
        ("header", "", "is empty"),
        ("microsoft-graph", "", "is empty"),
        ("basic", "no colon", "must be user:password"),
        ("azure-devops", "", "must be user:password"),
    ],
)
def test_a_secret_that_cannot_be_one_is_refused(name: str, secret: str, reason: str) -> None:
    provider = load_provider(name)

    with pytest.raises(ConfigError, match=reason):
        provider.check(secret)


# --- HTTP Basic


def test_basic_credentials_are_those_of_rfc_7617() -> None:
    # Sections 2 and 2.1.
    aladdin = with_header("Authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")
    pound = with_header("Authorization", "basic dGVzdDoxMjPCow==")

    assert verify("basic", aladdin, "Aladdin:open sesame").key == 0
    assert verify("basic", pound, "test:123£").key == 0
    assert load_provider("basic").sign(SignedRequest(BODY), "Aladdin:open sesame", now=NOW) == aladdin


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("Basic ***", "not valid base64"),
        ("Basic " + b64encode(b"user:other").decode(), "is wrong"),
        ("Bearer " + b64encode(b"user:password").decode(), "does not begin with 'Basic '"),
    ],
)
def test_other_basic_credentials_are_refused(value: str, reason: str) -> None:
    with pytest.raises(BadSignature, match=reason):
        verify("basic", with_header("Authorization", value), "user:password")


# --- Microsoft Graph


def graph(document: Any, *secrets: str) -> Proof:
    return verify("microsoft-graph", SignedRequest(json.dumps(document).encode()), *secrets)


def test_every_notification_of_graph_shows_one_of_the_secrets() -> None:
    document = {"value": [{"clientState": "new"}, {"clientState": "old", "more": 1}]}

    assert graph(document, "old", "new").key == 1
    with pytest.raises(BadSignature, match="'clientState' in the JSON body is wrong"):
        graph(document, "new")


@pytest.mark.parametrize("document", [[], 5, None, {}, {"value": None}, {"value": []}, {"value": {"clientState": "x"}}])
def test_a_body_without_notifications_is_refused(document: Any) -> None:
    with pytest.raises(BadSignature, match="no notifications in 'value'"):
        graph(document, "x")


@pytest.mark.parametrize("item", [5, None, {}, {"clientState": None}, {"clientState": 5}, {"clientState": ""}])
def test_a_notification_without_a_client_state_is_refused(item: Any) -> None:
    with pytest.raises(BadSignature, match="is wrong"):
        graph({"value": [{"clientState": "state"}, item]}, "state")


def test_graph_gets_its_validation_token_back_decoded() -> None:
    provider = load_provider("microsoft-graph")
    request = SignedRequest(url="https://example.com/in?validationToken=Validation%3A+Testing+client")

    response = provider.handshake(request, ["x"], now=NOW)

    assert response is not None
    assert response.body == b"Validation: Testing client"
    assert provider.handshake(SignedRequest(url="https://example.com/in?a=b"), ["x"], now=NOW) is None


def test_the_secret_of_graph_is_in_each_notification_and_is_not_taken_out() -> None:
    provider = load_provider("microsoft-graph")

    signed = provider.sign(SignedRequest(b'{"value":[{"clientState":"","size":1.50},{}]}'), "x", now=NOW)

    assert provider.secret_in == ()
    assert signed.body == b'{"value":[{"clientState":"x","size":1.50},{"clientState":"x"}]}'
    assert provider.verify(signed, ["x"], now=NOW).key == 0
    with pytest.raises(BadSignature, match="no notifications"):
        provider.sign(SignedRequest(BODY), "x", now=NOW)
    with pytest.raises(ConfigError, match="is empty"):
        provider.sign(signed, "", now=NOW)
