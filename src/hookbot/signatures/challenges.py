"""Providers with a challenge: a request by which the sender checks an address before it delivers there.

The hub responds without storing a message, and only after it has verified the signature if the challenge is signed.
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
from ..protocol.response import JSON, Response
from .pings import BY_SIGNATURE, Ping
from .provider import Proof
from .request import SignedRequest
from .scheme import Scheme

# No challenge that is documented has more than 1 KiB.
MAX_CHALLENGE_BYTES = 64 << 10
_CRC_TOKEN = re.compile(r"[A-Za-z0-9+/=_.-]{1,256}", re.ASCII)


class Slack(Scheme):
    """Provider of Slack. ``url_verification`` expects its challenge back as plain text.

    https://docs.slack.dev/reference/events/url_verification
    """

    signs_every_post = True

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The challenge of a signed ``url_verification``."""
        # The bytes are searched first, so that ordinary events are not verified twice.
        if not _may_be_challenge(request, b'"url_verification"'):
            return None
        self.verify(request, secrets, now=now)
        return _plain(request.need("json:challenge")) if request.find("json:type") == "url_verification" else None


class Zoom(Scheme):
    """Provider of Zoom. ``endpoint.url_validation`` expects its token back, together with the token's HMAC.

    https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint
    """

    signs_every_post = True

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The plain and the encrypted token of a signed ``endpoint.url_validation``."""
        if not _may_be_challenge(request, b"endpoint.url_validation"):
            return None
        secret = secrets[self.verify(request, secrets, now=now).key]
        if request.find("json:event") != "endpoint.url_validation":
            return None
        plain = request.need("json:payload.plainToken")
        encrypted = hmac.digest(self._key(secret), plain.encode("utf-8", "surrogatepass"), "sha256").hex()
        return _json({"plainToken": plain, "encryptedToken": encrypted})


class Twitch(Scheme):
    """Provider of Twitch. ``webhook_callback_verification`` expects its challenge back as plain text.

    https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#responding-to-a-challenge-request
    """

    signs_every_post = True

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The challenge of a signed ``webhook_callback_verification``."""
        if request.find("Twitch-Eventsub-Message-Type") != "webhook_callback_verification":
            return None
        self.verify(request, secrets, now=now)
        return _plain(request.need("json:challenge"))


class Discord(Scheme):
    """Provider of Discord. A PING expects 204 from an event endpoint, and PONG from an interactions endpoint.

    https://docs.discord.com/developers/events/webhook-events
    """

    signs_every_post = True

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The response to a signed PING."""
        # Events are of type 1 as well; only they have an 'event'.
        if not _may_be_challenge(request, b'"type"') or b'"event"' in request.body:
            return None
        self.verify(request, secrets, now=now)
        match request.find("json:type"):
            case "0":
                return Response(status=204, headers=())
            case "1" if "event" not in request.json():
                return _json({"type": 1})
        return None


class X(Scheme):
    """Provider of X. Its Challenge-Response Check asks for the HMAC of a token, in a request that is not signed.

    The response signs a token from an untrusted client just as X signs events. A token that could be the body of an
    event is therefore rejected, and only a JSON object is accepted as an event.

    https://docs.x.com/x-api/webhooks/quickstart
    """

    # Its challenge is a GET, as those of the providers below.
    signs_every_post = True

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof that X signed the body, which must begin with ``{``; raises `BadSignature`."""
        if not request.body.startswith(b"{"):
            raise BadSignature("the body must be a JSON object, as in every event of X")
        return super().verify(request, secrets, now=now)

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The HMAC of a ``crc_token`` under the first secret; raises `BadSignature` if the token is malformed."""
        token = _parameter(request, "crc_token") if request.method == "GET" else None
        if token is None:
            return None
        if not _CRC_TOKEN.fullmatch(token):
            raise BadSignature("the crc_token must be 1 to 256 letters, digits and +/=_.-")
        digest = hmac.digest(self._key(secrets[0]), token.encode(), "sha256")
        return _json({"response_token": f"sha256={b64encode(digest).decode()}"})


class Dropbox(Scheme):
    """Provider of Dropbox. A GET, which is not signed, expects its ``challenge`` back as plain text.

    https://www.dropbox.com/developers/reference/webhooks
    """

    signs_every_post = True

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The ``challenge`` of a GET."""
        challenge = _parameter(request, "challenge") if request.method == "GET" else None
        return None if challenge is None else _plain(challenge)


@dataclass(frozen=True, kw_only=True)
class Meta(Scheme):
    """Provider of Meta. A GET with the right verify token, which is not the app secret, expects ``hub.challenge`` back.

    https://developers.facebook.com/docs/graph-api/webhooks/getting-started#verification-requests
    """

    signs_every_post = True

    verify_token: str = field(default="", repr=False)

    @property
    def options(self) -> tuple[str, ...]:
        """Name of the option with the verify token, as entered in Meta's dashboard."""
        return ("verify_token",)

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The challenge; raises `BadSignature` if the verify token is wrong or not configured."""
        if request.method != "GET" or _parameter(request, "hub.mode") != "subscribe":
            return None
        shown = (_parameter(request, "hub.verify_token") or "").encode("utf-8", "surrogatepass")
        if not self.verify_token or not hmac.compare_digest(
            shown, self.verify_token.encode("utf-8", "surrogateescape")
        ):
            raise BadSignature("hub.verify_token is not the verify_token that this source is configured with")
        return _plain(_parameter(request, "hub.challenge") or "")


class AnyScheme(Scheme):
    """Provider of senders outside the catalogue, described by the user."""

    signs_every_post = True

    @property
    def options(self) -> tuple[str, ...]:
        """All fields of a scheme but the `fallback`."""
        return (
            *("header", "prefix", "separator", "algorithm", "encoding", "template", "timestamp", "unit"),
            *("id", "delivery", "key_prefix", "key_encoding", "max_age"),
        )

    @property
    def ping(self) -> Ping | None:
        """The ping of the sender that has this header for its signature."""
        return BY_SIGNATURE.get(self.header.lower())

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """An empty response to HEAD, by which Trello and Mandrill check that the address is there."""
        return Response(headers=()) if request.method == "HEAD" else None


def _may_be_challenge(request: SignedRequest, contained: bytes) -> bool:
    return len(request.body) <= MAX_CHALLENGE_BYTES and contained in request.body


def _parameter(request: SignedRequest, name: str) -> str | None:
    values = parse_qs(request.query).get(name)
    return values[0] if values else None


def _plain(text: str) -> Response:
    return Response(text.encode("utf-8", "surrogatepass"))


def _json(document: dict[str, Any]) -> Response:
    return Response(json.dumps(document).encode(), headers=JSON)
