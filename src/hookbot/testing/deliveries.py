"""Signed deliveries, as senders make them."""

from collections.abc import Mapping
from time import time
from typing import NamedTuple
from uuid import uuid4

from ..protocol.message import Headers
from ..signatures import load_provider
from ..signatures.samples import TEST, sample

# What a delivery tells of unless a test chooses.
_EVENTS = {"github": "push", "gitlab": "push", "stripe": "invoice.paid"}
# Stripe's routers go by the account that an event is about.
_OWNERS = {"stripe": ("acct_1032D82eZvKYlo2C",)}


class Delivery(NamedTuple):
    """The body and headers of a sender's request."""

    body: bytes
    headers: Headers


def signed_delivery(
    provider: str,
    secret: str,
    body: bytes | None = None,
    headers: Headers | Mapping[str, str] = (),
    *,
    event: str | None = None,
    url: str = "",
) -> Delivery:
    """Delivery signed by the rule of `provider`, at the current time.

    It tells of `event`, one of those that ``hookbot trigger PROVIDER`` lists, with new ids: by default a push of github
    and gitlab, a paid invoice of stripe, and of others a test that says that it is one. `body` replaces that of the
    event; `headers` are added to those of the event, and replace those of the same name. `url` is needed by providers
    that sign it: hubspot, square and twilio.

    Raises `Refused` for an unknown event, `ConfigError` for an unknown provider, an unusable secret, or if only the
    sender has the key, and `BadSignature` if the request lacks a signed part.
    """
    rule = load_provider(provider)
    chosen = event or _EVENTS.get(provider, TEST)
    made = sample(rule, chosen, id=f"test-{uuid4()}", now_s=time(), owners=_OWNERS.get(provider, ()))
    request = made.with_headers(header_pairs(headers)).request(rule, url, body)
    signed = rule.sign(request, secret, now=time())
    return Delivery(signed.body, signed.headers)


def header_pairs(headers: Headers | Mapping[str, str]) -> Headers:
    """Headers as pairs."""
    return tuple(headers.items()) if isinstance(headers, Mapping) else tuple(headers)
