"""One Stripe endpoint, rebroadcast as a topic for each type of event and for each connected account."""

import logging

from hookbot import Message, Publish

logger = logging.getLogger(__name__)


class StripeRouter:
    """Rebroadcasts one Stripe endpoint as a topic for each type of event and account.

    Passes events on whole:

    - to ``stripe-event/invoice/paid``, by their type, so that ``stripe-event/invoice/`` is all about invoices
    - to ``stripe-account/ACCOUNT/invoice/paid``, too, those of a connected account
    """

    name = "stripe"
    topics = ("/unsafe/stripe/", "stripe/")

    def __init__(self, test_events: bool = True) -> None:
        """`test_events`: whether to pass on what did not happen with real money."""
        self.test_events = test_events

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish one event where it belongs; one that nobody has verified is dropped, with a warning."""
        if not is_genuine(message):
            logger.warning("dropped %s: no source of this hub has verified it as Stripe's", message.id)
            return
        event = message.json()
        if not event.get("livemode") and not self.test_events:
            return
        kind = event["type"].replace(".", "/")
        await publish(f"stripe-event/{kind}", message)
        if account := event.get("account"):
            await publish(f"stripe-account/{account}/{kind}", message)


def is_genuine(message: Message) -> bool:
    """Whether the hub has checked Stripe's signature, or the sender had a token for a topic that needs one."""
    if message.topic.startswith("/unsafe/"):
        return message.verified is not None and message.verified.provider == "stripe"
    return True
