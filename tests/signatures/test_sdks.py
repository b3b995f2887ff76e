"""The providers' own libraries agree with hookbot about what a signature is."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from Adyen.util import generate_notification_sig, is_valid_hmac_payload
from discord_interactions import verify_key
from hubspot.utils.signature import Signature
from paddle_billing.Entities.Notifications import NotificationEvent
from paddle_billing.Notifications.Entities.UndefinedEntity import UndefinedEntity
from paddle_billing.Notifications.PaddleSignature import PaddleSignature
from paddle_billing.Notifications.Secret import Secret
from sendgrid.helpers.eventwebhook import EventWebhook
from slack_sdk.models.blocks import Block, RichTextBlock
from slack_sdk.signature import Clock, SignatureVerifier
from square.types.payment import Payment
from square.types.payment_refund import PaymentRefund
from square.utils.webhooks_helper import verify_signature
from standardwebhooks import Webhook
from stripe import Event, StripeObject, WebhookSignature
from twilio.request_validator import RequestValidator

from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.samples import TEST, event_names, sample
from support.signature_samples import BODY, FORM_REQUEST, JSON, NOW, SAMPLE, URL


class Then(Clock):
    """A clock that stands still."""

    def now(self) -> float:
        return NOW


def stripe(request: SignedRequest, secret: str) -> bool:
    return bool(WebhookSignature.verify_header(request.body, request.find("Stripe-Signature"), secret))


def slack(request: SignedRequest, secret: str) -> bool:
    return bool(SignatureVerifier(secret, Then()).is_valid_request(request.body, dict(request.headers)))


def twilio(request: SignedRequest, secret: str) -> bool:
    body = dict(request.form()) or request.body.decode()
    return bool(RequestValidator(secret).validate(request.url, body, request.find("X-Twilio-Signature")))


def square(request: SignedRequest, secret: str) -> bool:
    return verify_signature(
        request_body=request.body.decode(),
        signature_header=request.need("x-square-hmacsha256-signature"),
        signature_key=secret,
        notification_url=request.url,
    )


def paddle(request: SignedRequest, secret: str) -> bool:
    return bool(PaddleSignature().verify(request.find("Paddle-Signature"), request.body.decode(), Secret(secret)))


def discord(request: SignedRequest, secret: str) -> bool:
    signature, timestamp = request.find("X-Signature-Ed25519"), request.find("X-Signature-Timestamp")
    return bool(verify_key(request.body, signature, timestamp, secret))


def sendgrid(request: SignedRequest, secret: str) -> bool:
    signature, timestamp = (request.find(f"X-Twilio-Email-Event-Webhook-{name}") for name in ("Signature", "Timestamp"))
    return bool(EventWebhook(secret).verify_signature(request.body.decode(), signature, timestamp))


def hubspot(request: SignedRequest, secret: str) -> bool:
    body, timestamp = request.body.decode(), request.find("X-HubSpot-Request-Timestamp")
    expected = Signature.get_signature(secret, body, "v3", request.url, request.method, timestamp)
    return bool(expected == request.find("X-HubSpot-Signature-v3"))


def adyen(request: SignedRequest, secret: str) -> bool:
    return bool(is_valid_hmac_payload(request.find("HmacSignature"), secret, request.body))


@pytest.mark.parametrize(
    ("name", "accepts"),
    [
        ("stripe", stripe),
        ("slack", slack),
        ("twilio", twilio),
        ("twilio-form", twilio),
        ("square", square),
        ("paddle", paddle),
        ("discord", discord),
        ("sendgrid", sendgrid),
        ("hubspot", hubspot),
        ("adyen", adyen),
    ],
)
def test_what_hookbot_signs_the_senders_library_accepts(name: str, accepts: Callable[..., Any]) -> None:
    assert accepts(SAMPLE[name].signed(), SAMPLE[name].secret)


# -- samples are what the libraries read


def sampled(provider: str, event: str) -> Any:
    return json.loads(sample(load_provider(provider), event, id="1", now_s=NOW).body)


@pytest.mark.parametrize("event", sorted(set(event_names("stripe")) - {TEST}))
def test_stripe_makes_the_object_of_each_event(event: str) -> None:
    made = Event.construct_from(sampled("stripe", event), "key").data.object

    # A name that it does not know becomes no more than this.
    assert type(made) is not StripeObject
    assert made["object"] == event.rpartition(".")[0].removeprefix("customer.")


@pytest.mark.parametrize("event", sorted(set(event_names("paddle")) - {TEST}))
def test_paddle_makes_the_object_of_each_event(event: str) -> None:
    made = NotificationEvent.from_dict(sampled("paddle", event))

    assert made.event_type.value == event
    assert not isinstance(made.data, UndefinedEntity)


@pytest.mark.parametrize(
    ("event", "kind"), [("payment.created", Payment), ("payment.updated", Payment), ("refund.created", PaymentRefund)]
)
def test_square_makes_the_object_of_each_event(event: str, kind: type[Payment] | type[PaymentRefund]) -> None:
    [inner] = sampled("square", event)["data"]["object"].values()
    assert kind.model_validate(inner).id == inner["id"]


def test_slack_knows_the_blocks_of_messages() -> None:
    message = sampled("slack", "message")["event"]
    assert [type(block) for block in Block.parse_all(message["blocks"])] == [RichTextBlock]


# -- what the libraries sign


def test_hookbot_accepts_what_stripe_signs() -> None:
    header = WebhookSignature.generate_signature_header(BODY.decode(), "whsec_test", int(NOW))
    request = SignedRequest(BODY, (("Stripe-Signature", f"{header},v0=6ffbb59b2300aae63f272406069a9788"),))

    proof = load_provider("stripe").verify(request, ["whsec_test"], now=NOW)

    assert (proof.signed_at, proof.replay_key) == (NOW, "evt_1")


def test_hookbot_accepts_what_standard_webhooks_signs() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = Webhook(secret).sign("msg_1", datetime.fromtimestamp(NOW, UTC), BODY.decode())
    headers = (("webhook-id", "msg_1"), ("webhook-timestamp", str(int(NOW))), ("webhook-signature", signature))

    proof = load_provider("standard-webhooks").verify(SignedRequest(BODY, headers), [secret], now=NOW)

    assert (proof.signed_at, proof.replay_key) == (NOW, "msg_1")


@pytest.mark.parametrize("url", ["https://example.com/in?a=b", "https://example.com:443/in", "http://example.com:8080"])
@pytest.mark.parametrize("signs_the_port", [True, False])
def test_hookbot_accepts_what_twilio_signs_with_or_without_the_port(url: str, signs_the_port: bool) -> None:
    signed_url = url if signs_the_port else url.replace(":443", "").replace(":8080", "")
    signature = RequestValidator("token").compute_signature(signed_url, dict(FORM_REQUEST.form()))
    request = replace(FORM_REQUEST, url=url, headers=(*FORM_REQUEST.headers, ("X-Twilio-Signature", signature)))

    assert load_provider("twilio").verify(request, ["token"], now=NOW).key == 0


def test_hookbot_accepts_what_twilio_signs_with_a_shared_key() -> None:
    signature = RequestValidator("token").compute_signature(URL, dict(FORM_REQUEST.form()), "HMAC_SHA256")
    settings = ("X-Twilio-Webhooks-Signature-Settings", "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256")
    headers = (*FORM_REQUEST.headers, ("X-Twilio-Signature", signature), settings)

    assert load_provider("twilio").verify(replace(FORM_REQUEST, headers=headers), ["token"], now=NOW).key == 0


def test_hookbot_accepts_the_notifications_that_adyen_signs_with_colons_and_without_values_in_them() -> None:
    key = "44" * 32
    items = []
    for reference in ("a:b", "a\\b/c", "plain"):
        item = {"merchantReference": reference, "amount": {"value": 5, "currency": "EUR"}, "eventCode": "CAPTURE"}
        signature = generate_notification_sig(item, key).decode()
        items.append({"NotificationRequestItem": {**item, "additionalData": {"hmacSignature": signature}}})
    body = json.dumps({"live": "false", "notificationItems": items}).encode()

    assert load_provider("adyen").verify(SignedRequest(body, JSON), [key], now=NOW).key == 0
