"""Providers that sign the URL in a form that differs from the one in the request."""

import re
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256

from ..errors import BadSignature
from .algorithms import is_sha256
from .provider import Proof
from .request import SignedRequest
from .scheme import Scheme

# The table of https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests
_HUBSPOT_DECODES = re.compile(r"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
_AFTER_HOST = re.compile(r"[/?#]")


class HubSpot(Scheme):
    """Provider of HubSpot, which signs the URL with twelve percent-escapes decoded and the others kept."""

    def value(self, part: str, request: SignedRequest) -> str | bytes:
        """The URL as HubSpot signs it; other values unchanged."""
        value = super().value(part, request)
        if part == "url" and isinstance(value, str):
            # Decoded, it would look like the beginning of the query: another topic would have the same signature.
            if "%3f" in value.partition("?")[0].lower():
                raise BadSignature("the path of the URL contains an escaped question mark")
            return _HUBSPOT_DECODES.sub(lambda escape: chr(int(escape[0][1:], 16)), value)
        return value


class Twilio(Scheme):
    """Provider of Twilio, which signs the URL and the form. For any other body, the URL ends with its SHA-256.

    Nothing separates the URL from the form, so that the fields of a form could pass for the end of a URL. A request
    without a body is therefore refused, as is a hash with something after it.

    The signed URL may or may not have a port. A header can select HMAC-SHA256 instead of HMAC-SHA1.
    """

    def value(self, part: str, request: SignedRequest) -> str | bytes:
        """Nothing for a body that is not a form, since the URL ends with its SHA-256; other values unchanged."""
        return "" if part == "form" and request.body and not request.form() else super().value(part, request)

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof that one of the secrets signed the URL and the whole body; raises `BadSignature`."""
        _check_body(request)
        rule = self._rule(request)
        bare, with_port = map(request.with_url, _spellings(request.need_url()))
        try:
            return Scheme.verify(rule, bare, secrets, now=now)
        except BadSignature:
            return Scheme.verify(rule, with_port, secrets, now=now)

    def check_head(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> None:
        """Raise `BadSignature` if the signature is missing, or malformed for its algorithm."""
        Scheme.check_head(self._rule(request), request, secrets, now=now)

    def _rule(self, request: SignedRequest) -> "Twilio":
        settings = (request.find("X-Twilio-Webhooks-Signature-Settings") or "").split(",")
        return replace(self, algorithm="hmac-sha256") if "algorithm=HMAC_SHA256" in settings else self

    @property
    def signed_in(self) -> tuple[str, ...]:
        """The places of the scheme, and that of the SHA-256 of the body."""
        return (*super().signed_in, "query:bodySHA256")

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request with its signature and, unless the body is a form or empty, with ``bodySHA256`` in the URL."""
        if request.body and not request.form():
            request = request.put("query:bodySHA256", sha256(request.body).hexdigest())
        return super().sign(request, secret, now=now)


def _check_body(request: SignedRequest) -> None:
    if request.form() or not request.body:
        return
    given = request.need("query:bodySHA256")
    if not is_sha256(given, request.body):
        raise BadSignature("the query parameter 'bodySHA256' is not the SHA-256 of the body")
    if not request.query.endswith(f"bodySHA256={given}"):
        raise BadSignature("the query parameter 'bodySHA256' is not the last one")


def _spellings(url: str) -> tuple[str, str]:
    """The URL without a port, and with one: its own or the default of its scheme."""
    scheme, _, after = url.partition("://")
    host = _AFTER_HOST.split(after, maxsplit=1)[0]
    bare, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        bare, port = host, "80" if scheme == "http" else "443"
    rest = after[len(host) :]
    return f"{scheme}://{bare}{rest}", f"{scheme}://{bare}:{port}{rest}"
