"""TLS: the hub's certificate, the authorities whose client certificates it accepts, and sockets that use them."""

import socket
import ssl
from contextlib import suppress
from pathlib import Path

from ..errors import ConfigError, system_reason
from ..protocol.pasted import check_unmarked, no_password

HTTP_2 = "h2"
PROTOCOLS = [HTTP_2, "http/1.1"]

# The most that one record carries (RFC 8446, section 5.1).
RECORD_BYTES = 16 << 10


class Tls:
    """Holder of the TLS context for new connections. A reload replaces it; established connections keep the old one."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context

    def wrap(self, sock: socket.socket) -> "TlsSocket":
        """The socket of an accepted connection, before its handshake. Raises `OSError` if the client has gone."""
        # Of a client that has gone, `wrap_socket` would leave the socket open.
        sock.getpeername()
        wrapped = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        assert isinstance(wrapped, TlsSocket)
        return wrapped


class TlsSocket(ssl.SSLSocket):
    """A non-blocking socket with TLS that is used like one without, once `do_handshake` has succeeded.

    What one `recv` leaves of a record is `pending`, and no event tells of it. OpenSSL keeps the record that the socket
    did not take: after a partial or blocked `send`, the next one must begin with the bytes that were not sent.
    """

    def do_handshake(self, block: bool = False) -> None:
        """Do the next step of the handshake. Raises `OSError` if it fails, and `SSLWantReadError` before it is done."""
        try:
            super().do_handshake(block)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError:
            # Closing a socket with bytes unread resets the connection, and the client may lose OpenSSL's alert.
            with suppress(OSError):
                socket.socket.recv(self, RECORD_BYTES)
            raise

    def recv(self, size: int = RECORD_BYTES, flags: int = 0) -> bytes:
        """Receive at most `size` bytes of one record; none at the end. Raises `BlockingIOError` if there is no more."""
        try:
            data = super().recv(size, flags)
        # It wants to write if the client has asked for a new key: OpenSSL answers that with what is sent next.
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            return b""
        # Python takes a reset for the end, but then there is no peer: this raises.
        if not data and self.version():
            self.getpeername()
        return data

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:  # type: ignore[override]
        """Send whole records, and return how many bytes they carry. Raises `BlockingIOError` if the first must wait."""
        sent = 0
        try:
            # Most of what is sent is one record, and slicing would cost a tenth of it.
            if 0 < len(data) <= RECORD_BYTES:
                return super().send(data, flags)
            view = memoryview(data)
            while sent < len(view):
                sent += super().send(view[sent : sent + RECORD_BYTES], flags)
        except ssl.SSLWantWriteError:
            if not sent:
                raise BlockingIOError from None
        return sent

    def sendmsg(self, buffers: tuple[bytes, bytes | memoryview]) -> int:  # type: ignore[override]
        """As `send`, of a header and data, of which only what goes into a record with the header is copied."""
        header, data = buffers
        shared = max(RECORD_BYTES - len(header), 0)
        first = header + data[:shared]
        sent = self.send(first)
        if sent == len(first) and len(data) > shared:
            with suppress(BlockingIOError):
                sent += self.send(memoryview(data)[shared:])
        return sent

    def shutdown(self, how: int) -> None:
        """Half-close after a close_notify, without waiting for the client's: what comes then is not decrypted."""
        self._notify()
        super().shutdown(how)

    def close(self) -> None:
        """Close after a close_notify, if the socket takes it at once (RFC 8446, section 6.1)."""
        self._notify()
        super().close()

    def _notify(self) -> None:
        # It raises if the connection is broken or not established, a record is waiting, or it was notified before; and
        # because the client's close_notify, for which it would wait, has not come.
        with suppress(OSError, ValueError):
            self.unwrap()


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
    context.sslsocket_class = TlsSocket
    # OpenSSL 1.1 would let a client of TLS 1.2 ask for one handshake after the other.
    context.options |= ssl.OP_NO_RENEGOTIATION
    # A client that closes its side without a close_notify may still read (RFC 9112, section 9.8), but OpenSSL 3 would
    # send it nothing more. HTTP and websockets tell by themselves whether what they carry is complete.
    context.options |= getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
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
