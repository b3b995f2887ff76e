"""TLS: the certificate that the hub shows, and those that it asks clients for."""

import ssl
from pathlib import Path

import trio

from ..errors import ConfigError

PROTOCOLS = ["h2", "http/1.1"]


class Tls:
    """The TLS context for the next handshake; established connections keep theirs."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def listen(self, listener: trio.SocketListener) -> "TlsListener":
        """A listener that speaks TLS."""
        return TlsListener(listener, self)


class TlsListener(trio.abc.Listener[trio.SSLStream[trio.SocketStream]]):
    """Accepts connections, which have to shake hands yet."""

    def __init__(self, listener: trio.SocketListener, tls: Tls) -> None:
        self._listener = listener
        self._tls = tls

    async def accept(self) -> trio.SSLStream[trio.SocketStream]:
        """The next connection."""
        stream = await self._listener.accept()
        return trio.SSLStream(stream, self._tls.context, server_side=True, https_compatible=True)

    async def aclose(self) -> None:
        """Accept no more."""
        await self._listener.aclose()


def make_context(certificate: Path | None, key: Path | None, client_authorities: Path | None) -> ssl.SSLContext | None:
    """TLS with these files, None without; raises `ConfigError` for files that are none.

    Clients may show a certificate that one of the authorities signed, and need not.
    """
    if certificate is None or key is None:
        if certificate or key or client_authorities:
            raise ConfigError("--sslcrt and --sslkey go together, and --sslca with them")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(PROTOCOLS)
    try:
        context.load_cert_chain(str(certificate), str(key), password=_no_password)
        if client_authorities:
            context.load_verify_locations(str(client_authorities))
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigError(f"no TLS with {certificate}, {key} and {client_authorities}: {error}") from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")  # else OpenSSL asks on the terminal
