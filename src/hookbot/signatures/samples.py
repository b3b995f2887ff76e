"""Samples: small deliveries as the senders of a provider make them, which say that they are tests of the hub."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from ..protocol.json_text import write_json
from ..protocol.message import Headers
from .owners import BitbucketOwnership, GitHubOwnership, GitLabOwnership, Ownership, StripeOwnership
from .provider import Provider
from .request import SignedRequest
from .scheme import Scheme

TEXT = "This is a test from hookbot"
_AGENT = ("User-Agent", "hookbot-test")
_JSON = (("Content-Type", "application/json"), _AGENT)
_FORM = (("Content-Type", "application/x-www-form-urlencoded"), _AGENT)

# What forges that follow GitHub send when a webhook is made.
_PING = {"zen": TEXT}
# What tells a sender's deliveries apart where it is not the usual body and headers.
_EVENTS: Mapping[str, Mapping[str, Any]] = {
    **dict.fromkeys(("github", "gitea", "forgejo", "gogs"), _PING),
    "gitlab": {"object_kind": "test", "message": TEXT},
    "bitbucket": {"message": TEXT},
    "slack": {"type": "event_callback", "event": {"type": "message", "text": TEXT}},
    "stripe": {"object": "event", "type": "hookbot.test", "livemode": False, "data": {"object": {"description": TEXT}}},
    "zoom": {"event": "hookbot.test", "payload": {"object": {"topic": TEXT}}},
    "twitch": {"subscription": {"type": "hookbot.test"}, "event": {"message": TEXT}},
    "mailgun": {"event-data": {"event": "delivered", "message": TEXT}},
    "linear": {"action": "create", "type": "Comment", "data": {"body": TEXT}},
    "azure-event-grid": {"eventType": "Hookbot.Test", "subject": TEXT, "data": {}},
}
_HEADERS: Mapping[str, Headers] = {
    "github": (("X-GitHub-Event", "ping"),),
    "gitea": (("X-Gitea-Event", "ping"),),
    "forgejo": (("X-Forgejo-Event", "ping"),),
    "gogs": (("X-Gogs-Event", "ping"),),
    "gitlab": (("X-Gitlab-Event", "Test Hook"),),
    "bitbucket": (("X-Event-Key", "repo:test"),),
    "shopify": (("X-Shopify-Topic", "hookbot/test"),),
    "twitch": (("Twitch-Eventsub-Message-Type", "notification"),),
    "azure-event-grid": (("Aeg-Event-Type", "Notification"),),
}


def sample(provider: Provider, url: str, id: str, owners: Sequence[str] = ()) -> SignedRequest:
    """A delivery to a URL, not signed yet, that names the first of some owners. The `id` makes it another one."""
    headers = _HEADERS.get(provider.name, ())
    if isinstance(provider, Scheme) and "form" in provider.template:
        fields = {"MessageSid": id, "From": "hookbot", "Body": TEXT}
        return SignedRequest(urlencode(fields).encode(), (*_FORM, *headers), "POST", url)
    owned = _owned_by(provider.ownership, owners[0]) if provider.ownership and owners else {}
    event = {"id": id, **_EVENTS.get(provider.name, {"type": "test", "message": TEXT}), **owned}
    body = [event] if provider.name == "azure-event-grid" else event
    request = SignedRequest(write_json(body).encode(), (*_JSON, *headers), "POST", url)
    for place in (getattr(provider, "id", ""), getattr(provider, "delivery", "")):
        if place and not request.first(place):
            request = request.put(place, id)
    return request


def _owned_by(ownership: Ownership, owner: str) -> Mapping[str, Any]:
    """The part of a body that names something of an owner."""
    match ownership:
        case GitHubOwnership() if owner.startswith("enterprises/"):
            return {"enterprise": {"slug": owner.removeprefix("enterprises/")}}
        case GitHubOwnership():
            return {"repository": {"full_name": f"{owner}/hookbot-test"}}
        case GitLabOwnership():
            return {"project": {"path_with_namespace": f"{owner}/hookbot-test"}}
        case BitbucketOwnership():
            return {"repository": {"full_name": f"{owner}/hookbot-test"}}
        case StripeOwnership():
            return {"account": owner}
    return {}
