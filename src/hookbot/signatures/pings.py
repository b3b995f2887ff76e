"""Pings: requests by which some senders try an address, without the signature that their deliveries have.

They say nothing, and prove nothing. A source that accepts them answers them, and stores none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from .request import SignedRequest

# The longest documented ping has half of this.
MAX_PING_BYTES = 64
_LENGTH = re.compile(r"[0-9]{1,9}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ping:
    """The ping of one kind of sender: a header that it has, and its whole body."""

    header: str
    value: re.Pattern[str]
    """Value of the header, which is empty if the header is missing."""
    body: re.Pattern[bytes]

    def may_begin(self, request: SignedRequest) -> bool:
        """True if this is the head of a ping; then the body that is to come is small."""
        length = request.first("Content-Length") or ""
        is_small = _LENGTH.fullmatch(length) and int(length) <= MAX_PING_BYTES
        return bool(is_small and self.value.fullmatch(request.first(self.header) or ""))

    def matches(self, request: SignedRequest) -> bool:
        """True if the whole request is a ping."""
        is_small = request.method == "POST" and len(request.body) <= MAX_PING_BYTES
        return is_small and self.may_begin(request) and bool(self.body.fullmatch(request.body))


BY_PROVIDER: Mapping[str, Ping] = MappingProxyType(
    {
        # "Test connection" of Data Center; some versions send no event:
        # https://confluence.atlassian.com/bitbucketserver/manage-webhooks-938025878.html
        "bitbucket": Ping(
            "X-Event-Key",
            re.compile("(diagnostics:ping)?"),
            re.compile(rb'\s*\{\s*"test"\s*:\s*true\s*\}\s*'),
        )
    }
)
"""Pings of providers, by name."""

BY_SIGNATURE: Mapping[str, Ping] = MappingProxyType(
    {
        # `deliver_ping` of WooCommerce, when a webhook is saved:
        # https://github.com/woocommerce/woocommerce/blob/trunk/plugins/woocommerce/includes/class-wc-webhook.php
        "x-wc-webhook-signature": Ping(
            "Content-Type",
            re.compile("application/x-www-form-urlencoded *(;.*)?", re.IGNORECASE),
            re.compile(rb"webhook_id=[0-9]{1,20}"),
        )
    }
)
"""Pings of senders without a provider of their own, by the header of their signature in lower case."""
