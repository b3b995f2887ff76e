"""All operations of the API, on one blueprint."""

from quart import Blueprint, Response

from ..services import Services
from .alerts import add_alerts
from .budgets import add_budgets
from .cursors import add_cursors
from .deletion import add_deletion
from .live import add_live
from .messages import add_messages
from .openapi import add_description
from .operations import Api
from .quotas import add_quotas
from .redelivery import add_redelivery
from .refusals import add_refusals
from .related import add_related
from .retry import add_retry
from .session import add_session
from .sources import add_sources
from .states import add_states
from .subscriptions import add_subscriptions
from .tokens import add_tokens
from .topics import add_topics


def create_api(services: Services) -> Blueprint:
    """Routes of the API; each needs a token."""
    api = Api(services.access)
    for add in (
        *(add_session, add_tokens, add_topics, add_messages, add_related, add_live, add_redelivery, add_retry),
        *(add_deletion, add_cursors, add_subscriptions, add_refusals, add_quotas, add_sources, add_alerts, add_budgets),
        add_states,
    ):
        add(api, services)
    add_description(api)

    @api.blueprint.after_request
    async def protect(response: Response) -> Response:
        # What one token sees is for no other, and bytes of senders are never what a browser makes of them.
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    return api.blueprint
