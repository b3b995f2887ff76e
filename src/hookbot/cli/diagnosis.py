"""Diagnosis of a subscription: its steps, checked one by one for ``hookbot doctor``."""

import math
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import trio

from ..client.address import Address, subscription_of, topic_of
from ..client.connect import PROXY, open_stream, open_unsecured, proxy_of, reason_of
from ..client.http import fetch, open_client
from ..client.listener import endpoint_of
from ..client.publisher import Publisher
from ..client.websocket import HubConnection, open_connection
from ..errors import HookbotError, Lost, Refused
from ..protocol.frames import Frame, Heartbeat, Hello, parse_frame
from ..protocol.headers import encoded
from ..protocol.message import Message
from ..protocol.response import error_from
from .findings import ADVICE, Check, Finding, compare_clocks

# Timeout of each step but the websocket handshake: a person is waiting, and a hub that takes longer fails clients, too.
PATIENCE_S = 10.0
# Certificates of 90 days are renewed 30 days before their end: with 14 left, renewal has probably failed.
RENEW_DAYS = 14
BODY = b"hookbot doctor\n"
"""Body of the message that is published with ``--pub-url``."""


class Diagnosis:
    """All checks for one subscription, in order; each finding is passed to `report` at once."""

    def __init__(
        self,
        address: Address,
        report: Callable[[Finding], object],
        *,
        unsafe: bool = False,
        ca_file: Path | None = None,
        publish_to: Address | None = None,
        wait_s: float = 20.0,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Prepare the checks.

        `patience_s` limits each step but the websocket handshake, and `wait_s` the wait for a heartbeat (0 skips it).
        If `publish_to` is given, a message is published there, and the subscription must receive it. Raises `Refused`
        if `address` cannot be subscribed to (an unsafe topic needs `unsafe`), or does not match `publish_to`.
        """
        self.broken: Check | None = None
        """First check that failed, or None."""
        if publish_to and not subscription_of(address).matches(topic_of(publish_to)):
            raise Refused(f"{address} does not receive what is published to {publish_to}")
        self._endpoint = endpoint_of(address, unsafe=unsafe, ca_file=ca_file)
        self._address = address
        self._near = proxy_of(address) or address
        self._way = "" if self._near is address else f" through {PROXY}{self._near.netloc}"
        self._report = report
        self._ca_file = ca_file
        self._publish_to = publish_to
        self._wait_s = wait_s
        self._patience_s = patience_s
        self._at = Check.NAME

    async def run(self) -> None:
        """Run the checks, up to the first failure that makes the next ones impossible."""
        try:
            for look in (self._name, self._tcp, self._tls, self._http, self._token, self._stream):
                await look()
        except OSError as error:
            self._tell(False, reason_of(error))
        except HookbotError as error:
            self._tell(False, str(error))

    def _tell(self, good: bool | None, text: str, advice: str = "") -> None:
        if good is False:
            self.broken = self.broken or self._at
            advice = advice or ADVICE[self._at]
        self._report(Finding(self._at, good, text, advice))

    async def _name(self) -> None:
        self._at = Check.NAME
        with self._patience():
            found = await trio.socket.getaddrinfo(self._near.host, self._near.port, type=socket.SOCK_STREAM)
        addresses = ", ".join(sorted({str(entry[4][0]) for entry in found}))
        proxy = "" if self._near is self._address else PROXY
        self._tell(True, f"{proxy}{self._near.host} resolves to {addresses}")

    async def _tcp(self) -> None:
        self._at = Check.TCP
        began = trio.current_time()
        # Through the proxy: what it refuses says nothing about TLS, HTTP or the token, which are checked next.
        stream = await open_unsecured(self._address, proxy_of(self._address), self._endpoint.tls, self._patience_s)
        await trio.aclose_forcefully(stream)
        self._tell(True, f"connected to {self._address.netloc}{self._way} in {_ms(began)}")

    async def _tls(self) -> None:
        self._at = Check.TLS
        if not self._address.secure:
            self._tell(None, "not encrypted: anybody on the way can read the token")
            return
        stream = await open_stream(self._address, proxy_of(self._address), self._endpoint.tls, self._patience_s)
        assert isinstance(stream, trio.SSLStream)
        until = stream.getpeercert()["notAfter"]
        await trio.aclose_forcefully(stream)
        days = math.floor((ssl.cert_time_to_seconds(until) - time.time()) / 86400)
        self._tell(True, f"the certificate is valid until {until}", "Renew it soon." if days < RENEW_DAYS else "")

    async def _http(self) -> None:
        self._at = Check.HTTP
        status, headers, body = await self._get("/status")
        if status >= 500:
            raise error_from(status, headers, body)
        self._tell(True, f"/status answers {status}")
        self._at = Check.HUB
        if status != 200 or body.strip() != b"OK":
            why = "" if status == 200 else f": {error_from(status, headers, body)}"
            raise Refused(f"the server is not a hookbot hub{why}")
        self._at = Check.CLOCK
        self._tell(*compare_clocks(headers.get("date", "")))

    async def _token(self) -> None:
        """Check the token by a request without an upgrade, which a hub refuses with 426 only if the token is right.

        So is the query, which the websocket goes without: it would begin where the listener is to go on.
        """
        self._at = Check.TOKEN
        status, headers, body = await self._get(self._address.target(self._address.query), *self._endpoint.headers)
        if status == 400:
            self._tell(False, str(error_from(status, headers, body)), "Correct the query of the URL.")
        if status in (401, 403, 404, 405, 429):
            raise error_from(status, headers, body)
        # Another status is probably a proxy's and says nothing about the token; the next check finds out.
        if status == 426:
            self._tell(True, f"the token opens {self._address.path}")

    async def _stream(self) -> None:
        self._at = Check.UPGRADE
        async with open_connection(self._endpoint, {}) as connection:
            self._tell(True, "the websocket is open")
            if connection.raw:
                self._at = Check.HUB
                self._tell(True, "the hub is older than 1.0 and sends only raw frames: nothing more can be checked")
                return
            await self._frames(connection)
            await self._heartbeat(connection)

    async def _frames(self, connection: HubConnection) -> None:
        self._at = Check.FRAMES
        with self._patience():
            hello = await _next(connection)
        if not isinstance(hello, Hello):
            raise Lost("the first frame of the hub is not a hello")
        self._at = Check.HUB
        self._tell(True, f"the hub is {hello.hub}")
        self._at = Check.FRAMES
        if self._publish_to is None:
            self._tell(None, "frames arrive; add --pub-url to check with a message")
            return
        began = trio.current_time()
        with self._patience():
            async with open_client(self._publish_to, self._ca_file) as client:
                id = await Publisher(self._publish_to, client, 0).publish(BODY)
            while not (isinstance(frame := await _next(connection), Message) and frame.id == id):
                pass
        self._tell(True, f"a published message came back in {_ms(began)}")

    async def _heartbeat(self, connection: HubConnection) -> None:
        """Wait for a heartbeat, or for a message, which also proves that the connection is alive."""
        self._at = Check.HEARTBEAT
        if self._wait_s == 0:
            self._tell(None, "skipped")
            return
        began = trio.current_time()
        with trio.move_on_after(self._wait_s):
            frame = await _next(connection)
            what = "a heartbeat" if isinstance(frame, Heartbeat) else "a message"
            self._tell(True, f"{what} arrived after {trio.current_time() - began:.1f} s")
            return
        self._tell(False, f"none arrived within {self._wait_s:g} s")

    @contextmanager
    def _patience(self) -> Iterator[None]:
        try:
            with trio.fail_after(self._patience_s):
                yield
        except trio.TooSlowError:
            raise Lost(f"no response{self._way} within {self._patience_s:g} s") from None

    async def _get(self, target: str, *fields: tuple[bytes, bytes]) -> tuple[int, Mapping[str, str], bytes]:
        """Status, header fields and the beginning of the body of the response to a request with these fields."""
        headers = [*encoded([("Host", self._address.netloc)]), *fields]
        request = httpx.Request("GET", f"{self._address.origin}{target}", headers=headers)
        async with open_client(self._address, self._ca_file) as client:
            with self._patience():
                return await fetch(client, request, self._address)


async def _next(connection: HubConnection) -> Frame | None:
    data = await connection.receive()
    if data is None:
        raise Lost("the hub closed the connection")
    try:
        return parse_frame(data)
    except ValueError as error:
        raise Lost(str(error)) from None


def _ms(began: float) -> str:
    return f"{(trio.current_time() - began) * 1000:.0f} ms"
