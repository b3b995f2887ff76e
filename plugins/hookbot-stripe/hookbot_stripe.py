"""A router that rebroadcasts one Stripe endpoint as a topic for each type of event and each connected account."""

import logging

import trio

from hookbot import Message, Publish
from hookbot.signatures import load_provider
from hookbot.signatures.owners import StripeOwnership

STRIPE = load_provider("stripe")
OWNERSHIP = StripeOwnership()

logger = logging.getLogger(__name__)


class StripeRouter:
    """Rebroadcasts one Stripe endpoint as a topic for each type of event and account.

    Publishes each event unchanged:

    - to a topic for its type, such as ``stripe-event/invoice/paid``; ``stripe-event/invoice/`` selects all of invoices
    - if it belongs to a connected account, also to ``stripe-account/ACCOUNT/invoice/paid``
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
        if not event.get("livemode") and not self.test_events:
            return
        kind = event["type"].replace(".", "/")
        await publish(f"stripe-event/{kind}", message)
        for name in OWNERSHIP.names(event):
            await publish(f"stripe-account/{name.path}/{kind}", message)


def is_genuine(message: Message) -> bool:
    """True if the hub has verified Stripe's signature, or the topic needs a token, which the sender then had."""
    return STRIPE.vouches_for(message) or not message.topic.startswith("/unsafe/")
