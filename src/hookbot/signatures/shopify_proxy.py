"""Provider of Shopify's app proxies, which pass on what visitors of a shop ask for, and sign the query of the URL."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from urllib.parse import parse_qsl

from ..errors import BadSignature
from .places import describe
from .provider import Proof
from .request import SignedRequest
from .scheme import Scheme
from .timestamps import check_fresh, format_timestamp, parse_timestamp

# In the URL that Shopify is given, to have the hub wait. It does not say whether it signs a query that stands there.
_OURS = "query:reply"
_NOT_SIGNED = {"", "1"}

# What Shopify adds to the query of a visitor. The next parameter, in the order of what is signed, begins with a
# character that ends such a value; only the path could be read as a longer one.
_ADDED = {
    "logged_in_customer_id": re.compile(r"[0-9]*", re.ASCII),
    "path_prefix": re.compile(r"/[\w/-]+", re.ASCII),
    "shop": re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*\.myshopify\.com"),
    "timestamp": re.compile(r"[0-9]+", re.ASCII),
}
_EXAMPLES = {"logged_in_customer_id": "", "path_prefix": "/apps/hookbot", "shop": "hookbot.myshopify.com"}


@dataclass(frozen=True, kw_only=True)
class ShopifyProxy(Scheme):
    """Provider of Shopify's app proxies: each parameter of the query but the signature is signed, sorted, and no body.

    Nothing separates the parameters. So those that Shopify adds must stand there once, also within others, and be what
    they are; and a repeat is known by the whole text, in which those of the visitor may be divided in other ways, and
    by the body.
    """

    header: str = "query:signature"
    template: str = "{url}"

    @property
    def covers(self) -> tuple[str, ...]:
        """The query, with the time in it."""
        return ("query", "timestamp")

    @property
    def options(self) -> tuple[str, ...]:
        """The bound on the age."""
        return ("max_age",)

    @property
    def signed_in(self) -> tuple[str, ...]:
        """The places of signature and time."""
        return (self.header, "query:timestamp")

    def value(self, part: str, request: SignedRequest) -> str | bytes:
        """The parameters as Shopify signs them; raises `BadSignature` unless those that it adds can be told."""
        parameters: dict[str, list[str]] = {}
        for name, value in parse_qsl(request.query, keep_blank_values=True, errors="surrogateescape"):
            parameters.setdefault(name, []).append(value)
        parameters.pop("signature", None)
        text = "".join(sorted(f"{name}={','.join(values)}" for name, values in parameters.items()))
        for name, form in _ADDED.items():
            if not form.fullmatch(",".join(parameters.get(name, ["?"]))) or text.count(f"{name}=") != 1:
                raise BadSignature(f"{describe(f'query:{name}')} is missing, malformed, or could be read elsewhere")
        return text.encode("utf-8", "surrogateescape")

    def check_head(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> None:
        """Raise `BadSignature` if the signature is missing or malformed, or the time is not recent."""
        super().check_head(request, secrets, now=now)
        self._time(request, now)

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof that one of the secrets signed the query, with the parameter of the hub or without it.

        Raises `BadSignature`.
        """
        try:
            proof = super().verify(request, secrets, now=now)
        except BadSignature:
            ours = request.find_all(_OURS)
            if not ours or not _NOT_SIGNED.issuperset(ours):
                raise
            proof = super().verify(request.without([_OURS]), secrets, now=now)
        # Two visitors may send different forms to the same page within a second.
        told = sha256(proof.fingerprint.encode() + request.body).hexdigest()
        return replace(proof, fingerprint=told, signed_at=self._time(request, now), replay_key=told)

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request with its signature, and with what Shopify adds to a query."""
        request = request.without(self.signed_in).put("query:timestamp", format_timestamp(now, self.unit))
        for name, value in _EXAMPLES.items():
            if request.find(place := f"query:{name}") is None:
                request = request.put(place, value)
        return super().sign(request, secret, now=now)

    def _time(self, request: SignedRequest, now: float) -> float:
        signed_at = parse_timestamp(request.need("query:timestamp"), self.unit)
        check_fresh(signed_at, now=now, max_age=self.max_age)
        return signed_at
