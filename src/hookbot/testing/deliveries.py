"""Signed deliveries, as senders make them."""

import json
from collections.abc import Mapping
from time import time
from typing import Any, NamedTuple

from ..protocol.message import Headers
from ..signatures import SignedRequest, load_provider

_JSON = ("Content-Type", "application/json")

# Small payloads; the ids of the deliveries are those in the senders' documentation.
_SAMPLES: dict[str, tuple[dict[str, Any], Headers]] = {
    "github": (
        {
            "ref": "refs/heads/main",
            "after": "1f2e3d4c5b6a798897a6b5c4d3e2f10f1e2d3c4b",
            "deleted": False,
            "commits": [{"id": "1f2e3d4c5b6a798897a6b5c4d3e2f10f1e2d3c4b", "message": "Say hello"}],
            "repository": {"full_name": "acme/app", "name": "app", "html_url": "https://github.com/acme/app"},
            "pusher": {"name": "ann"},
        },
        (_JSON, ("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "0b989ba4-242f-11e5-81e1-c7b6966d2516")),
    ),
    "gitlab": (
        {
            "object_kind": "push",
            "ref": "refs/heads/main",
            "checkout_sha": "1f2e3d4c5b6a798897a6b5c4d3e2f10f1e2d3c4b",
            "user_username": "ann",
            "project": {"path_with_namespace": "acme/web/app", "web_url": "https://gitlab.com/acme/web/app"},
            "commits": [{"id": "1f2e3d4c5b6a798897a6b5c4d3e2f10f1e2d3c4b", "message": "Say hello"}],
        },
        (_JSON, ("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Event-UUID", "13792a34-cac6-4fda-95a8-c58e00a3954e")),
    ),
    "stripe": (
        {
            "id": "evt_1NG8Du2eZvKYlo2CUI79vXWy",
            "object": "event",
            "type": "invoice.paid",
            "account": "acct_1032D82eZvKYlo2C",
            "livemode": False,
            "data": {"object": {"id": "in_1MtHbELkdIwHu7ixl4OzzPMv", "object": "invoice"}},
        },
        (_JSON,),
    ),
}


class Delivery(NamedTuple):
    """The body and headers of a sender's request."""

    body: bytes
    headers: Headers


def signed_delivery(
    provider: str, secret: str, body: bytes | None = None, headers: Headers | Mapping[str, str] = ()
) -> Delivery:
    """Delivery signed by the rule of `provider`, at the current time.

    If `body` is None, the body is a sample for github, gitlab and stripe, otherwise ``{}``. The headers of the sample
    are sent with any body; `headers` are added, and replace those of the same name. Raises `ConfigError` for an unknown
    provider, an unusable secret, or if only the sender has the key, and `BadSignature` if the request lacks a signed
    part. Providers that sign the URL (hubspot, square, twilio) are not supported: a delivery has no URL.
    """
    sample, sample_headers = _SAMPLES.get(provider, ({}, (_JSON,)))
    given = header_pairs(headers)
    names = {name.lower() for name, _ in given}
    request = SignedRequest(
        json.dumps(sample).encode() if body is None else body,
        (*given, *(pair for pair in sample_headers if pair[0].lower() not in names)),
    )
    signed = load_provider(provider).sign(request, secret, now=time())
    return Delivery(signed.body, signed.headers)


def header_pairs(headers: Headers | Mapping[str, str]) -> Headers:
    """Headers as pairs."""
    return tuple(headers.items()) if isinstance(headers, Mapping) else tuple(headers)
