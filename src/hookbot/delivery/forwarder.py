"""Forwarders: messages posted to an HTTP server with the bytes, headers and query that the sender sent.

Those that came by GET are sent by GET.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import trio

from ..client.address import Address
from ..client.connect import PROXY, failure, open_stream, open_unsecured, proxy_unless_local, reason_of, tls_context
from ..client.errors import retry_after
from ..client.http import BEGINNING_BYTES, DRAIN_S, RequestBody, body_of
from ..errors import ConfigError, HookbotError, Lost, system_reason
from ..protocol.headers import encoded, end_to_end
from ..protocol.message import METHOD_HEADER, Headers, Message
from ..protocol.pasted import check_unmarked, no_password
from ..protocol.response import error_from, title_of
from ..version import __version__
from .outcome import MAX_KEPT_BODY, UNSENDABLE, Exchange, Failed, Outcome
from .target import Target

if TYPE_CHECKING:
    from .signer import Signer


@dataclass(frozen=True, slots=True)
class ForwardOptions:
    """Options of a forwarder."""

    hop: str
    timeout_s: float = 30.0
    headers: Headers = field(default=(), repr=False)
    """Headers added to those of the message; they replace any of the same name."""
    keep_host: bool = False
    """Send the ``Host`` of the message instead of the target's."""
    signer: "Signer | None" = None
    """Sign each attempt for the target, in place of the sender's signature."""
    once: bool = True
    """Add an ``Idempotency-Key`` to a message without one, so that the target can recognise a retry."""
    ca_file: Path | None = None
    certificate: Path | None = None
    insecure: bool = False
    """Accept any certificate of the target."""
    drain_s: float = DRAIN_S
    """Maximum time to read the body of a response."""


class Forwarder:
    """A client of one target, over persistent connections. Made by `open_forwarder`."""

    def __init__(
        self, target: Target, options: ForwardOptions, client: httpx.AsyncClient, proxy: Address | None
    ) -> None:
        self._target = target
        self._options = options
        self._client = client
        self._via = f" through {PROXY}{proxy.netloc}" if proxy else ""
        self._relay = _relay(target, proxy)
        self._secret = {"authorization", "proxy-authorization", *(name.lower() for name, _ in options.headers)}
        if options.signer:
            self._secret |= {place.lower() for place in options.signer.provider.secret_in}
        # Whoever answers, or hangs up: a relay may do so in the target's place.
        self._who = f"{target}{self._via}" if self._relay else str(target)

    async def post(self, message: Message, attempt: int) -> Outcome:
        """Post the message once. Raises `Failed` without a 2xx response.

        The status decides as soon as it is known, whatever becomes of the body behind it.
        """
        started = trio.current_time()
        request = self._request(message)
        try:
            response = await self._client.send(request, stream=True)
        except httpx.TimeoutException:
            line = f"no response from {self._target}{self._via} within {self._options.timeout_s:g} s"
            raise Failed(Outcome(line, "timeout", self._options.timeout_s)) from None
        except httpx.TransportError as error:
            seconds = trio.current_time() - started
            raise Failed(Outcome(await self._reason(error), seconds=seconds)) from None
        return await self._outcome(request, response, trio.current_time() - started)

    async def _outcome(self, request: httpx.Request, response: httpx.Response, seconds: float) -> Outcome:
        """Outcome of a request that was answered after so many seconds. Raises `Failed` for any status but 2xx."""
        status = response.status_code
        body, is_whole = await body_of(response, self._options.drain_s, max_bytes=MAX_KEPT_BODY)
        sent = tuple((name, value) for name, value in _pairs(request.headers) if name.lower() not in self._secret)
        exchange = Exchange(sent, status, _pairs(response.headers), body, is_whole)
        if not response.is_success:
            error = error_from(status, response.headers, body[:BEGINNING_BYTES], of_hub=False)
            # Only a proxy asks for credentials with 407 (RFC 9110, section 15.5.8).
            who = f"{PROXY}{self._relay.netloc}" if self._relay and status == 407 else self._who
            line = f"{who} answered {error}"
            raise Failed(Outcome(line, str(status), seconds, exchange), retry_after_s=retry_after(error))
        line = f"{title_of(status)} from {self._target} in {seconds * 1000:.0f} ms"
        return Outcome(line, str(status), seconds, exchange)

    def _request(self, message: Message) -> httpx.Request:
        """Request of one attempt. Raises `Failed` if it cannot be sent, or not be signed."""
        origin, target = self._target.address.origin, self._target.request_target(message)
        method, headers, body = message.method, self._headers(message), message.body
        try:
            if signer := self._options.signer:
                seen = self._seen_origin(headers)
                signed = signer.sign(seen + target.decode(), headers, body, id=message.id, method=method)
                target, headers, body = signed.url.removeprefix(seen).encode(), signed.headers, signed.body
            length = () if method == "GET" else (("Content-Length", str(len(body))),)
            fields = encoded((*headers, *length))
        except HookbotError as error:
            raise Failed(Outcome(f"cannot be posted: {error}", UNSENDABLE)) from None
        if self._relay:
            target = origin.encode() + target
        extensions = {"target": target, "deadline": trio.current_time() + self._options.timeout_s}
        return httpx.Request(method, origin, headers=fields, stream=RequestBody(body), extensions=extensions)

    def _seen_origin(self, headers: Headers) -> str:
        """Beginning of the URL that the target sees: with the host that the headers name."""
        host = next(value for name, value in headers if name.lower() == "host")
        return f"{'https' if self._target.address.secure else 'http'}://{host}"

    async def _reason(self, error: httpx.TransportError) -> str:
        what = f"cannot post to {self._who}"
        # Only the target itself can be asked whether it speaks TLS.
        if self._relay or self._target.socket:
            return f"{what}: {reason_of(error)}"
        return str(await failure(what, error, self._target.address))

    def _headers(self, message: Message) -> Headers:
        """Headers of the message in their order, then ours."""
        address, options = self._target.address, self._options
        fields = [*options.headers, *address.authorization_header()]
        fields.append(("Hookbot-Hops", ",".join((*message.hops, options.hop))))
        if message.id:
            fields.append(("Hookbot-Message-Id", message.id))
        replaced = {METHOD_HEADER.lower(), *(name.lower() for name, _ in fields)}
        host = (message.header("Host") if options.keep_host else None) or address.netloc
        own = [] if "host" in replaced else [("Host", host)]
        kept = [(name, value) for name, value in end_to_end(message.headers) if name.lower() not in replaced]
        if self._relay:
            fields += self._relay.authorization_header("Proxy-Authorization")
        named = replaced | {name.lower() for name, _ in kept}
        if "user-agent" not in named:
            fields.append(("User-Agent", f"hookbot/{__version__}"))
        if options.once and message.id and "idempotency-key" not in named:
            fields.append(("Idempotency-Key", message.id))
        return (*own, *kept, *fields)


@asynccontextmanager
async def open_forwarder(target: Target, options: ForwardOptions) -> AsyncIterator[Forwarder]:
    """Forwarder to a target. Raises `ConfigError` for an invalid certificate, CA file or proxy."""
    # Imported here, as in `open_client`.
    from ..client.transport import Transport  # noqa: PLC0415

    tls = _tls(options)
    proxy = None if target.socket else proxy_unless_local(target.address)

    async def connect(server: Address, timeout_s: float) -> trio.abc.Stream:
        if target.socket:
            return await _open_socket(target.socket)
        if relay := _relay(target, proxy):
            return await open_stream(relay, None, tls, timeout_s, role=PROXY)
        return await open_unsecured(server, proxy, tls, timeout_s)

    # The deadline of each request limits the whole attempt; the timeouts of httpx would limit each read and write.
    transport = Transport(connect, tls)
    async with httpx.AsyncClient(transport=transport, timeout=None, trust_env=False) as client:  # noqa: S113
        yield Forwarder(target, options, client, proxy)


def _relay(target: Target, proxy: Address | None) -> Address | None:
    """The proxy if requests are sent to it (RFC 9112, section 3.2.2), so that it may answer in the target's place.

    Those for a TLS server go through a tunnel. For other servers, many proxies refuse one.
    """
    return None if target.address.secure else proxy


def _pairs(headers: httpx.Headers) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw)


async def _open_socket(path: str) -> trio.abc.Stream:
    try:
        return await trio.open_unix_socket(path)
    except OSError as error:
        raise Lost(f"cannot connect to unix:{path}: {reason_of(error)}") from None


def _tls(options: ForwardOptions) -> ssl.SSLContext:
    context = tls_context(options.ca_file)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.certificate:
        try:
            check_unmarked(options.certificate)
            context.load_cert_chain(options.certificate, password=no_password)
        except (OSError, ValueError) as error:
            reason = system_reason(error)
            raise ConfigError(f"cannot use the certificate {str(options.certificate)!r}: {reason}") from None
    return context
