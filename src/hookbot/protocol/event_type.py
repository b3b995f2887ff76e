"""Event types: what a sender calls the kind of event that a message tells of, such as ``push`` or ``invoice.paid``.

They are for people who look for something, and prove nothing: whoever sends a message chooses its type.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Raw
from msgspec.json import Decoder

from .message import Message

# A type is looked for in a fraction of a millisecond.
_MAX_BODY = 64 << 10
_MAX_TYPE = 128

# In lower case. Gitea and its forks also send those of the forges that they resemble, with the same value.
_HEADERS = frozenset(
    {
        "ce-type",
        "circleci-event-type",
        "linear-event",
        "sentry-hook-resource",
        "twitch-eventsub-subscription-type",
        "x-amz-sns-message-type",
        "x-buildkite-event",
        "x-discourse-event",
        "x-event-key",
        "x-event-type",
        "x-forgejo-event",
        "x-gitea-event",
        "x-github-event",
        "x-gitlab-event",
        "x-gogs-event",
        "x-goog-resource-state",
        "x-netlify-event",
        "x-shopify-topic",
        "x-snyk-event",
        "x-wc-webhook-topic",
        "x-webhook-event",
    }
)
# Of Slack, Discord, PagerDuty and Mailgun. What is around such an event has a type, too, but none of interest.
_EVENTS = ("event", "event-data")
_TYPES = (
    *("type", "event", "event_type", "eventType", "event_name", "eventName", "webhookEvent", "topic"),
    *("notification_type", "notificationType", "subscriptionType", "changeType", "action"),
)

# `Raw` values are not parsed: only their ends are looked for.
_object = Decoder(dict[str, Raw]).decode
_array = Decoder(list[Raw]).decode
_string = Decoder(str).decode


def event_type(message: Message) -> str | None:
    """Event type in a header that senders use for it, or in a small JSON body; None if there is none."""
    for name, value in message.headers:
        if name.lower() in _HEADERS and 0 < len(value) <= _MAX_TYPE:
            return value
    body = message.body
    if len(body) > _MAX_BODY or not body.lstrip().startswith((b"{", b"[")):
        return None
    # Azure Event Grid, HubSpot and SendGrid send several events at a time.
    first = next(iter(_decoded(_array, body) or ()), body)
    members: Mapping[str, Raw] = _decoded(_object, first) or {}
    events = [_decoded(_object, members[name]) for name in _EVENTS if name in members]
    return next(filter(None, map(_type_in, (*filter(None, events), members))), None)


def _type_in(members: Mapping[str, Raw]) -> str | None:
    values = (_decoded(_string, members[name]) for name in _TYPES if name in members)
    return next((value for value in values if value and len(value) <= _MAX_TYPE), None)


def _decoded(decode: Any, text: bytes | Raw) -> Any:
    try:
        return decode(text)
    except (ValueError, RecursionError):
        return None
