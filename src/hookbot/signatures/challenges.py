"""Challenges: senders that check who answers at an address before they post to it, and the response that each expects.

The hub answers by itself, after the signature was verified wherever the challenge is signed.
"""

import hmac
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from ..errors import BadSignature
from ..protocol.message import Headers
from ..protocol.response import Response
from .provider import Proof
from .request import SignedRequest
from .scheme import Scheme

_JSON: Headers = (("Content-Type", "application/json"),)
_CRC_TOKEN = re.compile(r"[A-Za-z0-9+/=_.-]{1,256}", re.ASCII)


class Slack(Scheme):
    """``url_verification``: the challenge comes back as plain text.

    https://docs.slack.dev/reference/events/url_verification
    """

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The challenge of a signed ``url_verification``."""
        if b'"url_verification"' not in request.body or request.find("json:type") != "url_verification":
            return None
        self.verify(request, secrets, now=now)
        return _plain(request.need("json:challenge"))


class Zoom(Scheme):
    """``endpoint.url_validation``: the token comes back together with its HMAC.

    https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint
    """

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The plain and the encrypted token of a signed ``endpoint.url_validation``."""
        if b"endpoint.url_validation" not in request.body or request.find("json:event") != "endpoint.url_validation":
            return None
        secret = secrets[self.verify(request, secrets, now=now).key]
        plain = request.need("json:payload.plainToken")
        encrypted = hmac.digest(self._key(secret), plain.encode("utf-8", "surrogatepass"), "sha256").hex()
        return _json({"plainToken": plain, "encryptedToken": encrypted})


class Twitch(Scheme):
    """``webhook_callback_verification``: the challenge comes back as plain text.

    https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#responding-to-a-challenge-request
    """

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The challenge of a signed verification."""
        if request.find("Twitch-Eventsub-Message-Type") != "webhook_callback_verification":
            return None
        self.verify(request, secrets, now=now)
        return _plain(request.need("json:challenge"))


class Discord(Scheme):
    """PING: an event endpoint answers 204, an interactions endpoint PONG.

    https://docs.discord.com/developers/events/webhook-events
    """

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The answer to a signed PING."""
        kind = request.find("json:type")
        if kind == "0":
            self.verify(request, secrets, now=now)
            return Response(status=204, headers=())
        if kind == "1" and "event" not in request.json():  # an event is of type 1 too, and has an 'event'
            self.verify(request, secrets, now=now)
            return _json({"type": 1})
        return None


class X(Scheme):
    """Challenge-Response Check: X asks for the HMAC of a token, without signing the request.

    Whoever answers it signs what untrusted clients send, in the same way in which X signs its events. So a token
    that could be the body of an event is not answered, nor is anything but an object taken for an event.

    https://docs.x.com/x-api/webhooks/quickstart
    """

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Raises `BadSignature` unless X signed the body, and the body is a JSON object."""
        if not request.body.startswith(b"{"):
            raise BadSignature("the body is not a JSON object, as every event of X is")
        return super().verify(request, secrets, now=now)

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The response token to a ``crc_token``, made with the first secret."""
        token = _parameter(request, "crc_token") if request.method == "GET" else None
        if token is None:
            return None
        if not _CRC_TOKEN.fullmatch(token):
            raise BadSignature("the crc_token is not a word")
        digest = hmac.digest(self._key(secrets[0]), token.encode(), "sha256")
        return _json({"response_token": f"sha256={b64encode(digest).decode()}"})


class Dropbox(Scheme):
    """The ``challenge`` of a GET comes back as plain text; nobody signs it.

    https://www.dropbox.com/developers/reference/webhooks
    """

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The challenge."""
        challenge = _parameter(request, "challenge") if request.method == "GET" else None
        return None if challenge is None else _plain(challenge)


@dataclass(frozen=True, kw_only=True)
class Meta(Scheme):
    """``hub.challenge`` comes back to whoever knows the verify token, which is not the app secret.

    https://developers.facebook.com/docs/graph-api/webhooks/getting-started#verification-requests
    """

    verify_token: str = field(default="", repr=False)

    @property
    def options(self) -> tuple[str, ...]:
        """The verify token, as it was typed into Meta's dashboard."""
        return ("verify_token",)

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The challenge; raises `BadSignature` if the verify token is another, or not configured."""
        if request.method != "GET" or _parameter(request, "hub.mode") != "subscribe":
            return None
        shown = (_parameter(request, "hub.verify_token") or "").encode("utf-8", "surrogatepass")
        if not self.verify_token or not hmac.compare_digest(
            shown, self.verify_token.encode("utf-8", "surrogateescape")
        ):
            raise BadSignature("hub.verify_token is not the option verify_token of this source")
        return _plain(_parameter(request, "hub.challenge") or "")


def _parameter(request: SignedRequest, name: str) -> str | None:
    values = parse_qs(request.query).get(name)
    return values[0] if values else None


def _plain(text: str) -> Response:
    return Response(text.encode("utf-8", "surrogatepass"))


def _json(document: dict[str, Any]) -> Response:
    return Response(json.dumps(document).encode(), headers=_JSON)
