import json

import pytest

from hookbot.protocol.event_type import event_type
from hookbot.protocol.message import Message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("X-GitHub-Event", "push"),
        ("x-gitlab-event", "Push Hook"),
        ("X-Gitea-Event", "push"),
        ("X-Event-Key", "repo:push"),
        ("X-Shopify-Topic", "orders/create"),
        ("X-WC-Webhook-Topic", "order.created"),
        ("Linear-Event", "Issue"),
        ("Ce-Type", "com.example.object.deleted"),
        ("Twitch-Eventsub-Subscription-Type", "channel.follow"),
    ],
)
def test_the_event_type_is_in_the_header_of_the_provider(name: str, value: str) -> None:
    assert event_type(Message("t", b'{"type": "other"}', (("Accept", "*/*"), (name, value)))) == value


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {"object": {"type": "x"}}}, "invoice.paid"),
        ({"event": "meeting.started", "payload": {}}, "meeting.started"),
        ({"event_type": "transaction.completed"}, "transaction.completed"),
        ({"eventType": "workitem.created"}, "workitem.created"),
        ({"event_name": "subscription_created"}, "subscription_created"),
        ({"webhookEvent": "jira:issue_updated"}, "jira:issue_updated"),
        ({"topic": "conversation.user.created", "type": "notification_event"}, "notification_event"),
        ({"action": "opened", "number": 1}, "opened"),
        ({"type": "event_callback", "event": {"type": "app_mention", "text": "hi"}}, "app_mention"),
        ({"type": 1, "event": {"type": "APPLICATION_AUTHORIZED", "data": {}}}, "APPLICATION_AUTHORIZED"),
        ({"event": {"id": "01B", "event_type": "incident.triggered"}}, "incident.triggered"),
        ({"signature": {}, "event-data": {"event": "opened"}}, "opened"),
        ([{"eventType": "Microsoft.Storage.BlobCreated"}, {"eventType": "other"}], "Microsoft.Storage.BlobCreated"),
        ({"event": {"text": "no type"}, "type": "outer"}, "outer"),
        ({"type": 1, "event": ["push"], "action": "closed"}, "closed"),
        ({"type": "", "action": "x" * 129}, None),
        ({"data": {"type": "inner"}}, None),
        ([], None),
        ("push", None),
    ],
)
def test_without_such_a_header_it_is_a_member_of_the_body(body: object, expected: str | None) -> None:
    assert event_type(Message("t", json.dumps(body).encode(), (("X-GitHub-Event", ""),))) == expected


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"type": "a"', b'{"type": "\xff"}', b"[" * 60_000, b'{"type":"a","b":"' + b"x" * (64 << 10) + b'"}'],
)
def test_a_malformed_or_large_body_has_none(body: bytes) -> None:
    assert event_type(Message("t", body)) is None
