"""TLS: the hub's certificate, and the authorities whose client certificates it accepts."""

import ssl
from pathlib import Path

import trio

from ..errors import ConfigError, system_reason
from ..protocol.pasted import check_unmarked, no_password

PROTOCOLS = ["h2", "http/1.1"]


class Tls:
    """Holder of the TLS context for new connections. A reload replaces it; established connections keep the old one."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def listen(self, listener: trio.SocketListener) -> "TlsListener":
        """A listener that accepts TLS connections from a plain one."""
        return TlsListener(listener, self)


class TlsListener(trio.abc.Listener[trio.SSLStream[trio.SocketStream]]):
    """A listener for TLS connections. Accepting does not handshake: a slow client must not hold up the next one."""

    def __init__(self, listener: trio.SocketListener, tls: Tls) -> None:
        self._listener = listener
        self._tls = tls

    async def accept(self) -> trio.SSLStream[trio.SocketStream]:
        """The next connection, before its handshake."""
        stream = await self._listener.accept()
        # HTTP clients end without a TLS close_notify (https_compatible); HTTP has its own end of message.
        return trio.SSLStream(stream, self._tls.context, server_side=True, https_compatible=True)

    async def aclose(self) -> None:
        """Close the listening socket."""
        await self._listener.aclose()


def make_context(certificate: Path | None, key: Path | None, client_authorities: Path | None) -> ssl.SSLContext | None:
    """The TLS context for PEM files, or None if no files are given.

    With `client_authorities`, a client may present a certificate that one of them signed, but need not. Raises
    `ConfigError` if certificate or key is not given but another file is, or a file is missing, invalid or encrypted.
    """
    if certificate is None or key is None:
        if certificate or key or client_authorities:
            raise ConfigError("--sslcrt and --sslkey need each other, and --sslca needs both")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(PROTOCOLS)
    files = [file for file in (certificate, key, client_authorities) if file]
    try:
        for file in files:
            check_unmarked(file)
        context.load_cert_chain(str(certificate), str(key), password=no_password)
        if client_authorities:
            context.load_verify_locations(str(client_authorities))
            context.verify_mode = ssl.CERT_OPTIONAL
    # Also OpenSSL's errors, which are OSErrors; ValueError comes from `no_password` and `check_unmarked`.
    except (OSError, ValueError) as error:
        shown = ", ".join(map(str, files))
        raise ConfigError(
            f"TLS needs a certificate chain and its key in PEM; {shown}: {system_reason(error)}"
        ) from None
    return context
