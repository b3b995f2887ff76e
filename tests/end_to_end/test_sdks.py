"""The senders' own libraries accept what `hookbot trigger` posts, and what `hookbot forward --sign` delivers.

All of them check with the time of the machine and read what they have accepted, as an application would. GitHub has no
library of its own; gidgethub is that of the bots of Python.
"""

import json
from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl

import pytest
import stripe
from Adyen.util import is_valid_hmac_notification
from discord_interactions import InteractionType, verify_key
from gidgethub import sansio
from hubspot.utils.signature import Signature
from paddle_billing.Entities.Notifications import NotificationEvent
from paddle_billing.Notifications import Secret, Verifier
from sendgrid.helpers.eventwebhook import EventWebhook
from slack_sdk.signature import SignatureVerifier
from square.utils.webhooks_helper import verify_signature
from standardwebhooks import Webhook
from twilio.request_validator import RequestValidator

from hookbot.testing import open_test_hub
from support.commands import run
from support.signature_samples import SAMPLES, Sample, elliptic_keys
from support.targets import Target, target

pytestmark = pytest.mark.slow

KEYS: dict[str, Sample] = {one.name: one for one in reversed(SAMPLES)}
# The private one of another pair of keys.
OTHERS = {"discord": bytes(32).hex(), "sendgrid": elliptic_keys(2)[0]}


class Received:
    """A request that arrived at a target, as frameworks hand it to an application."""

    def __init__(self, url: str, headers: Iterable[tuple[str, str]], body: bytes) -> None:
        pairs = [(name.lower(), value) for name, value in headers]
        self.url = url
        self.headers = dict(pairs)
        assert len(self.headers) == len(pairs), "a header that is repeated has two readings"
        self.body = body
        self.text = body.decode()

    @classmethod
    def by(cls, server: Target) -> "Received":
        """The only request that has arrived at a target."""
        [request] = server.requests
        return cls(server.url.removesuffix("/hook") + request.target.decode(), request.headers, request.body)


def read_stripe(received: Received, secret: str) -> Any:
    event = stripe.Webhook.construct_event(received.body, received.headers["stripe-signature"], secret)
    assert isinstance(event.data.object, stripe.Invoice)
    return event.type


def read_slack(received: Received, secret: str) -> Any:
    assert SignatureVerifier(secret).is_valid_request(received.body, received.headers)
    if received.headers["content-type"] == "application/json":
        return json.loads(received.body)["event"]["type"]
    return dict(parse_qsl(received.text))["command"]


def read_twilio(received: Received, secret: str) -> Any:
    fields = dict(parse_qsl(received.text, keep_blank_values=True))
    assert RequestValidator(secret).validate(received.url, fields, received.headers["x-twilio-signature"])
    return fields["SmsStatus"]


def read_square(received: Received, secret: str) -> Any:
    signature = received.headers["x-square-hmacsha256-signature"]
    assert verify_signature(
        request_body=received.text, signature_header=signature, signature_key=secret, notification_url=received.url
    )
    return json.loads(received.body)["type"]


def read_paddle(received: Received, secret: str) -> Any:
    request = SimpleNamespace(headers={"Paddle-Signature": received.headers["paddle-signature"]}, body=received.body)
    # Five seconds, its default, may pass on a busy machine.
    assert Verifier(maximum_variance=300).verify(request, Secret(secret))
    return NotificationEvent.from_request(request).event_type.value


def read_discord(received: Received, secret: str) -> Any:
    headers = received.headers
    assert verify_key(received.body, headers["x-signature-ed25519"], headers["x-signature-timestamp"], secret)
    return json.loads(received.body)["type"]


def read_sendgrid(received: Received, secret: str) -> Any:
    signature, timestamp = (
        received.headers[f"x-twilio-email-event-webhook-{name}"] for name in ("signature", "timestamp")
    )
    assert EventWebhook(secret).verify_signature(received.text, signature, timestamp)
    [event] = json.loads(received.body)
    return event["event"]


def read_hubspot(received: Received, secret: str) -> Any:
    headers = received.headers
    assert Signature.is_valid(
        signature=headers["x-hubspot-signature-v3"],
        client_secret=secret,
        request_body=received.text,
        http_uri=received.url,
        signature_version="v3",
        timestamp=headers["x-hubspot-request-timestamp"],
    )
    [event] = json.loads(received.body)
    return event["subscriptionType"]


def read_adyen(received: Received, secret: str) -> Any:
    [item] = json.loads(received.body)["notificationItems"]
    assert is_valid_hmac_notification(item["NotificationRequestItem"], secret)
    return item["NotificationRequestItem"]["eventCode"]


def read_standard_webhooks(received: Received, secret: str) -> Any:
    return Webhook(secret).verify(received.body, received.headers)["type"]


def read_github(received: Received, secret: str) -> Any:
    event = sansio.Event.from_http(received.headers, received.body, secret=secret)
    assert event.data["repository"]["full_name"] == "acme/app"
    return event.event


READERS: list[tuple[str, str, Callable[[Received, str], Any], Any]] = [
    ("adyen", "AUTHORISATION", read_adyen, "AUTHORISATION"),
    ("discord", "application_command", read_discord, InteractionType.APPLICATION_COMMAND),
    ("github", "push", read_github, "push"),
    ("hubspot", "contact.creation", read_hubspot, "contact.creation"),
    ("paddle", "transaction.completed", read_paddle, "transaction.completed"),
    ("sendgrid", "delivered", read_sendgrid, "delivered"),
    ("slack", "message", read_slack, "message"),
    ("slack", "slash_command", read_slack, "/weather"),
    ("square", "payment.updated", read_square, "payment.updated"),
    ("standard-webhooks", "user.created", read_standard_webhooks, "user.created"),
    ("stripe", "invoice.paid", read_stripe, "invoice.paid"),
    ("twilio", "message", read_twilio, "received"),
]
"""Provider, event, how an application checks and reads it, and what it then finds."""
every_reader = pytest.mark.parametrize(
    ("name", "event", "read", "expected"), READERS, ids=[f"{name} {event}" for name, event, *_ in READERS]
)


def accepts(read: Callable[[Received, str], Any], received: Received, secret: str) -> bool:
    try:
        read(received, secret)
    except Exception:
        return False
    return True


@every_reader
async def test_what_is_triggered_is_accepted_and_read(
    name: str, event: str, read: Callable[[Received, str], Any], expected: Any
) -> None:
    keys = KEYS[name]
    async with target() as server:
        code, _, err = await run("trigger", name, event, server.url, "--secret", keys.signing or keys.secret)

    assert code == 0, err
    assert read(Received.by(server), keys.secret) == expected


@every_reader
async def test_what_is_forwarded_is_signed_anew_accepted_and_read(
    name: str, event: str, read: Callable[[Received, str], Any], expected: Any
) -> None:
    keys = KEYS[name]
    async with open_test_hub() as hub, target() as server:
        # With a secret that the application does not have.
        secret = OTHERS.get(name, keys.other)
        code, _, err = await run("trigger", name, event, hub.url_for("/pub/in"), "--secret", secret)
        assert code == 0, err
        [stored] = await hub.wait_for("in")
        code, _, err = await run(
            *("forward", "--since", "all", "--limit", "1", "--sign", name, "--secret", keys.signing or keys.secret),
            *(hub.url_for("/sub/in"), server.url),
        )

    assert code == 0, err
    assert read(Received.by(server), keys.secret) == expected
    assert not accepts(read, Received(server.url, stored.headers, stored.body), keys.secret)
