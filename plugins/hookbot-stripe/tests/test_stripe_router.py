import json
from typing import Any

import pytest
from hookbot_stripe import StripeRouter, topic_of

from hookbot.testing import make_message, open_test_hub, route, routed, signed_delivery

INVOICE = {"type": "invoice.paid", "livemode": True}


def topics(published: list[tuple[str, bytes]]) -> list[str]:
    return [topic for topic, _ in published]


async def route_json(
    event: object, topic: str = "/unsafe/stripe/", verified: str | None = "stripe", **options: Any
) -> list[tuple[str, bytes]]:
    return await route(StripeRouter(**options), topic, json.dumps(event).encode(), verified=verified)


async def test_an_event_of_a_connected_account_goes_to_its_type_and_its_account() -> None:
    delivery = signed_delivery("stripe", "whsec_s3cret")

    published = await route(StripeRouter(), "/unsafe/stripe/", *delivery, verified="stripe")

    assert published == [
        ("stripe-event/invoice/paid", delivery.body),
        ("stripe-account/acct_1032D82eZvKYlo2C/invoice/paid", delivery.body),
    ]


async def test_an_event_of_ones_own_goes_to_its_type() -> None:
    assert topics(await route_json(INVOICE)) == ["stripe-event/invoice/paid"]


THIN = {"object": "v2.core.event", "livemode": True, "context": "acct_1"}
TYPES = [
    ("v2.core.account.closed", "v2/core/account/closed"),
    ("v2.core.account[requirements].updated", "v2/core/account[requirements]/updated"),
    (
        "v2.core.account[configuration.merchant].capability_status_updated",
        "v2/core/account[configuration.merchant]/capability_status_updated",
    ),
    ("v2.a[b.c].d[e.f]", "v2/a[b.c]/d[e.f]"),
    ("v2.a[b.c", "v2/a[b/c"),
]


@pytest.mark.parametrize(("kind", "topic"), TYPES)
async def test_the_type_of_a_thin_event_is_divided_outside_its_brackets(kind: str, topic: str) -> None:
    published = await route_json({**THIN, "type": kind})
    assert topics(published) == [f"stripe-event/{topic}", f"stripe-account/acct_1/{topic}"]


@pytest.mark.parametrize(("part", "topic"), [(".", "/"), ("[", "["), (".[", "/["), ("].", "]/")])
def test_a_type_of_any_length_is_read_in_one_pass(part: str, topic: str) -> None:
    assert topic_of(part * 1_000_000) == topic * 1_000_000


@pytest.mark.parametrize(
    "event", [[], None, 5, {}, {"type": None}, {"type": ["invoice.paid"]}, {**INVOICE, "account": 5}]
)
async def test_what_is_no_event_is_an_error_in_a_sentence(event: object) -> None:
    with pytest.raises(ValueError, match="must be a "):
        await route_json(event)


async def test_test_events_can_be_left_out() -> None:
    assert await route_json({**INVOICE, "livemode": False}, test_events=False) == []
    assert topics(await route_json({**INVOICE, "livemode": False})) == ["stripe-event/invoice/paid"]
    assert topics(await route_json(INVOICE, test_events=False)) == ["stripe-event/invoice/paid"]


@pytest.mark.parametrize("verified", [None, "github"])
async def test_what_nobody_has_verified_as_stripes_is_dropped_with_a_warning(
    verified: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    assert await route_json(INVOICE, verified=verified) == []
    assert "not verified as Stripe's" in caplog.text


async def test_what_came_with_a_token_of_the_hub_needs_no_signature() -> None:
    assert topics(await route_json(INVOICE, topic="stripe/", verified=None)) == ["stripe-event/invoice/paid"]


async def test_an_event_is_passed_on_whole_so_that_its_signature_can_be_checked_again() -> None:
    message = make_message("stripe/", *signed_delivery("stripe", "whsec_s3cret"))
    [copy, _] = await routed(StripeRouter(), message)
    assert (copy.body, copy.header("Stripe-Signature")) == (message.body, message.header("Stripe-Signature"))


async def test_it_runs_in_a_hub() -> None:
    async with open_test_hub(StripeRouter()) as hub:
        await hub.publish("stripe/", *signed_delivery("stripe", "whsec_s3cret"))
        [message] = await hub.wait_for("stripe-event/invoice/")
    assert message.hops == ("stripe",)
