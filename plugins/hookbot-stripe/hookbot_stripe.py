"""A router that rebroadcasts one Stripe endpoint as a topic for each type of event and each connected account."""

import logging
import re
from typing import Any

import trio

from hookbot import Message, Publish
from hookbot.signatures import load_provider
from hookbot.signatures.owners import StripeOwnership

STRIPE = load_provider("stripe")
OWNERSHIP = StripeOwnership()

DOT_OR_BRACKETS = re.compile(r"\.|\[[^\[\]]*\]")
"""Dot that divides a type, or brackets, in which none does: ``v2.core.account[configuration.merchant].updated``."""

logger = logging.getLogger(__name__)


class StripeRouter:
    """Rebroadcasts one Stripe endpoint as a topic for each type of event and account.

    Publishes each event unchanged:

    - to a topic for its type, such as ``stripe-event/invoice/paid``; ``stripe-event/invoice/`` selects all of invoices
    - if it belongs to a connected account, also to ``stripe-account/ACCOUNT/invoice/paid``

    Thin events, of the types that begin with ``v2.`` and some others, are published in the same way.
    """

    name = "stripe"
    topics = ("/unsafe/stripe/", "stripe/")

    def __init__(self, test_events: bool = True) -> None:
        """`test_events`: False to drop events of Stripe's test mode."""
        self.test_events = test_events

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish one event to its topics; an unverified one from an unsafe topic is dropped, with a warning."""
        if not is_genuine(message):
            logger.warning("dropped %s: not verified as Stripe's; add a source for %s", message.id, message.topic)
            return
        # In a thread, since parsing megabytes would hold up the hub.
        event = await trio.to_thread.run_sync(message.json)
        accounts = list(OWNERSHIP.names(event))
        if not event.get("livemode") and not self.test_events:
            return
        kind = topic_of(event.get("type"))
        await publish(f"stripe-event/{kind}", message)
        for name in accounts:
            await publish(f"stripe-account/{name.path}/{kind}", message)


def topic_of(kind: Any) -> str:
    """Type of an event as a topic; raises `ValueError` if it is none."""
    if not isinstance(kind, str) or not kind:
        raise ValueError(f"the type of an event must be a string such as 'invoice.paid', not {kind!r:.80}")
    return DOT_OR_BRACKETS.sub(lambda found: "/" if found[0] == "." else found[0], kind)


def is_genuine(message: Message) -> bool:
    """True if the hub has verified Stripe's signature, or the topic needs a token, which the sender then had."""
    return STRIPE.vouches_for(message) or not message.topic.startswith("/unsafe/")
