"""Challenges, and the response that the documentation of each sender asks for."""

import hmac
import json
from base64 import b64encode
from dataclasses import fields

import pytest

from hookbot.errors import BadSignature
from hookbot.protocol.response import Response
from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.challenges import MAX_CHALLENGE_BYTES, AnyScheme
from support.signature_samples import NOW, PUBLIC, SECRET, SEED


def signed(name: str, document: object, *headers: tuple[str, str], secret: str = SECRET) -> SignedRequest:
    return load_provider(name).sign(SignedRequest(json.dumps(document).encode(), headers), secret, now=NOW)


def handshake(name: str, request: SignedRequest, *secrets: str, **options: str) -> Response:
    response = load_provider(name, options).handshake(request, secrets or ["another-secret", SECRET], now=NOW)
    assert response is not None
    return response


def get(query: str) -> SignedRequest:
    return SignedRequest(method="GET", url=f"https://hooks.example.com/in?{query}")


SIGNED_QUESTIONS = {
    "slack": ({"type": "url_verification", "challenge": "3eZbrw1aB"}, ()),
    "zoom": ({"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}}, ()),
    "twitch": ({"challenge": "pogchamp"}, (("Twitch-Eventsub-Message-Type", "webhook_callback_verification"),)),
}


def test_slack_gets_its_challenge_back() -> None:
    reply = handshake("slack", signed("slack", SIGNED_QUESTIONS["slack"][0]))

    assert (reply.status, reply.body) == (200, b"3eZbrw1aB")
    assert ("X-Content-Type-Options", "nosniff") in reply.headers


def test_zoom_gets_its_token_back_encrypted_with_the_secret_that_fits() -> None:
    reply = handshake("zoom", signed("zoom", SIGNED_QUESTIONS["zoom"][0]))

    encrypted = hmac.new(SECRET.encode(), b"qgg8vlvZRS6UYooatFL8Aw", "sha256").hexdigest()
    assert json.loads(reply.body) == {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": encrypted}


def test_twitch_gets_its_challenge_back_as_plain_text() -> None:
    document, headers = SIGNED_QUESTIONS["twitch"]

    reply = handshake("twitch", signed("twitch", document, *headers))

    assert reply.body == b"pogchamp"
    assert ("Content-Type", "text/plain; charset=utf-8") in reply.headers


@pytest.mark.parametrize("name", SIGNED_QUESTIONS)
def test_a_signed_question_is_answered_to_nobody_but_its_sender(name: str) -> None:
    document, headers = SIGNED_QUESTIONS[name]

    with pytest.raises(BadSignature):
        handshake(name, signed(name, document, *headers, secret="mine"))


@pytest.mark.parametrize(("document", "status", "body"), [({"type": 0}, 204, b""), ({"type": 1}, 200, b'{"type": 1}')])
def test_discord_is_told_that_somebody_is_there(document: dict[str, int], status: int, body: bytes) -> None:
    request = signed("discord", document, secret=SEED.hex())

    reply = handshake("discord", request, PUBLIC.hex())

    assert (reply.status, reply.body) == (status, body)
    with pytest.raises(BadSignature):
        handshake("discord", SignedRequest(request.body), PUBLIC.hex())


def test_x_gets_the_hmac_of_its_token() -> None:
    reply = handshake("x", get("crc_token=9b4507b3-9040-4669-9ca3-6b94edb50553"), "another-secret", SECRET)

    digest = hmac.digest(b"another-secret", b"9b4507b3-9040-4669-9ca3-6b94edb50553", "sha256")
    assert json.loads(reply.body) == {"response_token": f"sha256={b64encode(digest).decode()}"}


def test_the_answer_to_x_is_never_the_signature_of_an_event() -> None:
    with pytest.raises(BadSignature, match="crc_token must be 1 to 256 letters"):
        handshake("x", get("crc_token=%7B%22tweet%22%3A1%7D"))

    answer = json.loads(handshake("x", get("crc_token=12345"), SECRET).body)["response_token"]
    with pytest.raises(BadSignature, match="must be a JSON object"):
        load_provider("x").verify(
            SignedRequest(b"12345", (("X-Twitter-Webhooks-Signature", answer),)), [SECRET], now=NOW
        )


def test_dropbox_gets_its_challenge_back() -> None:
    assert handshake("dropbox", get("challenge=abc%20def")).body == b"abc def"
    posted = SignedRequest(url="https://hooks.example.com/?challenge=abc")
    assert load_provider("dropbox").handshake(posted, [SECRET], now=NOW) is None


def test_meta_gets_its_challenge_back_if_it_knows_the_verify_token() -> None:
    request = get("hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=meaty")

    assert handshake("meta", request, verify_token="meaty").body == b"1158201444"
    for options in ({}, {"verify_token": "other"}):
        with pytest.raises(BadSignature, match="verify_token"):
            handshake("meta", request, **options)


@pytest.mark.parametrize("body", [b'{"type": "url_verification"', b'{"x": "url_verification"}'])
def test_a_word_within_an_event_makes_no_challenge(body: bytes) -> None:
    event = load_provider("slack").sign(SignedRequest(body), SECRET, now=NOW)

    assert load_provider("slack").handshake(event, [SECRET], now=NOW) is None


def test_a_word_within_an_event_of_zoom_makes_no_challenge() -> None:
    body = b'{"event": "meeting.started", "topic": "endpoint.url_validation"}'
    event = load_provider("zoom").sign(SignedRequest(body), SECRET, now=NOW)

    assert load_provider("zoom").handshake(event, [SECRET], now=NOW) is None


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("slack", b'{"type": "url_verification"}'),
        ("zoom", b'{"event": "endpoint.url_validation"}'),
        ("discord", b'{"type": 1}'),
    ],
)
def test_no_body_is_parsed_before_its_signature_is_verified(
    name: str, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SignedRequest, "json", lambda _: pytest.fail("parsed"))

    with pytest.raises(BadSignature):
        handshake(name, SignedRequest(body), PUBLIC.hex())


@pytest.mark.parametrize("name", ["slack", "zoom", "discord"])
def test_a_large_body_is_no_challenge(name: str) -> None:
    body = b'{"type": "url_verification", "event ": "endpoint.url_validation", "x": "' + b"x" * MAX_CHALLENGE_BYTES

    assert load_provider(name).handshake(SignedRequest(body), [SECRET], now=NOW) is None


@pytest.mark.parametrize(("body", "passes"), [(b'{"a": 1}', True), (b"[1]", False), (b"", False), (b" {}", False)])
def test_an_event_of_x_is_a_json_object(body: bytes, passes: bool) -> None:
    event = load_provider("x").sign(SignedRequest(body), SECRET, now=NOW)

    if passes:
        assert load_provider("x").verify(event, [SECRET], now=NOW).key == 0
    else:
        with pytest.raises(BadSignature, match="must be a JSON object"):
            load_provider("x").verify(event, [SECRET], now=NOW)


def test_meta_has_its_verify_token_as_an_option() -> None:
    assert load_provider("meta").options == ("verify_token",)


@pytest.mark.parametrize("name", ["slack", "zoom", "twitch", "discord", "x", "dropbox", "meta", "github", "aws-sns"])
def test_an_event_is_not_taken_for_a_question(name: str) -> None:
    event = SignedRequest(b'{"type": 1, "event": {"type": "ENTITLEMENT_CREATE"}}')

    assert load_provider(name).handshake(event, [SECRET], now=NOW) is None
    assert load_provider(name).handshake(get("a=b"), [SECRET], now=NOW) is None


# --- senders that ask by HEAD, OPTIONS, or a code in an event


@pytest.mark.parametrize("header", ["X-Trello-Webhook", "X-Mandrill-Signature"])
def test_a_head_by_which_a_sender_of_the_general_scheme_checks_the_address_is_answered(header: str) -> None:
    reply = handshake("hmac", SignedRequest(method="HEAD"), header=header)

    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("name", ["github", "stripe", "header", "jwt"])
def test_a_head_to_any_other_sender_is_not_answered(name: str) -> None:
    assert load_provider(name).handshake(SignedRequest(method="HEAD"), [SECRET * 3], now=NOW) is None


ASKING = SignedRequest(
    headers=(("WebHook-Request-Origin", "events.example"),), method="OPTIONS", url="https://hooks.example.com/in"
)


@pytest.mark.parametrize(
    ("name", "secret"),
    [("header", SECRET), ("basic", f"user:{SECRET}"), ("azure-event-grid", SECRET), ("jwt", SECRET * 3)],
)
def test_a_sender_of_cloud_events_is_permitted_if_it_shows_its_secret(name: str, secret: str) -> None:
    provider = load_provider(name)
    asking = provider.sign(ASKING, secret, now=NOW)

    reply = provider.handshake(asking, [secret], now=NOW)

    assert reply
    assert ("WebHook-Allowed-Origin", "events.example") in reply.headers
    with pytest.raises(BadSignature):
        provider.handshake(ASKING, [secret], now=NOW)
    with pytest.raises(BadSignature):
        provider.handshake(asking, [f"not:{secret}"], now=NOW)


@pytest.mark.parametrize("name", ["github", "stripe", "hmac", "gitlab", "aws-sns"])
def test_a_sender_that_shows_no_secret_is_permitted_nothing(name: str) -> None:
    assert load_provider(name).handshake(ASKING, [SECRET], now=NOW) is None


def validation(document: object, secret: str = SECRET) -> SignedRequest:
    return SignedRequest(
        json.dumps(document).encode(),
        (("aeg-event-type", "SubscriptionValidation"),),
        url=f"https://hooks.example.com/in?code={secret}",
    )


def test_event_grid_gets_its_code_back_if_it_shows_its_secret() -> None:
    event = {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d38b6"}}

    reply = handshake("azure-event-grid", validation([event]))

    assert json.loads(reply.body) == {"validationResponse": "512d38b6"}
    assert ("Content-Type", "application/json") in reply.headers
    with pytest.raises(BadSignature):
        handshake("azure-event-grid", validation([event], "mine"))


@pytest.mark.parametrize("document", [[], {}, [{}], [{"data": {"validationCode": 1}}], [{"data": []}], "x"])
def test_a_validation_of_event_grid_without_a_code_is_refused(document: object) -> None:
    with pytest.raises(BadSignature, match="validationCode"):
        handshake("azure-event-grid", validation(document))


def test_every_field_of_a_scheme_is_an_option_of_a_user_but_those_of_the_catalogue() -> None:
    provider = load_provider("hmac")

    assert isinstance(provider, AnyScheme)
    assert {*provider.options} == {field.name for field in fields(provider)} - {
        "name",
        "documentation",
        "ownership",
        "fallback",
    }
