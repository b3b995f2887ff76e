"""TLS: the hub's certificate, the authorities whose client certificates it accepts, and sockets that use them."""

import errno
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


# Received at a time: a client that asks for a new key with each few bytes can use up some milliseconds with that.
FEED_BYTES = 16 << 10
# More than the largest record takes. Beyond it, what a client sends is nothing but requests for new keys and the like.
SILENT_BYTES = 32 << 10


class Tls:
    """Holder of the TLS context for new connections. A reload replaces it; established connections keep the old one."""

    def __init__(self, context: ssl.SSLContext, chain: bytes = b"") -> None:
        self.context = context
        self._chain = chain
        """Certificates of the context, in PEM."""

    def adopt(self, other: "Tls") -> None:
        """Take over context and certificates."""
        self.context, self._chain = other.context, other._chain

    @property
    def expires_s(self) -> float:
        """Time at which the first of its certificates expires, in seconds since 1970; 0 if none can be read."""
        # Only who asks for it waits for the import.
        from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

        # OpenSSL takes more, such as a certificate with marks of trust.
        with suppress(ValueError):
            return min(one.not_valid_after_utc.timestamp() for one in load_pem_x509_certificates(self._chain))
        return 0.0

    def wrap(self, sock: socket.socket) -> "TlsSocket":
        """The socket of an accepted connection, before its handshake. Raises `OSError` if the client has gone."""
        sock.getpeername()
        return TlsSocket(sock, self.context)


class TlsSocket(socket.socket):
    """A non-blocking socket with TLS that is used like one without, once `do_handshake` has succeeded.

    What one `recv` leaves of what has come is `pending`, and no event tells of it. A record that the socket did not
    take is kept: after a partial or blocked `send`, the next one must begin with the bytes that were not sent.

    OpenSSL does not read from the socket itself, because it would go on for as long as there are requests for new keys.
    """

    __slots__ = ("_carried", "_ended", "_incoming", "_outgoing", "_record", "_silent", "_tls")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(sock.family, sock.type, sock.proto, fileno=sock.detach())
        self.setblocking(False)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._ended = False
        """True after a half-close."""
        self._silent = 0
        """Number of bytes received since there was something to return."""
        self._record = b""
        """Rest of the last record that the socket has not taken."""
        self._carried = 0
        """Number of bytes that this record carries, which do not count as sent."""

    def do_handshake(self) -> None:
        """Do the next step of the handshake. Raises `OSError` if it fails.

        Before it is done, raises `SSLWantReadError`, or `SSLWantWriteError` while the socket takes no more.
        """
        with suppress(BlockingIOError):
            self._feed()
        done = False
        try:
            self._tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            """The client has to answer what is sent now."""
        except OSError:
            # The alert that says why.
            self._push()
            raise
        if not self._push():
            raise ssl.SSLWantWriteError
        if not done:
            raise ssl.SSLWantReadError
        self._silent = 0

    def certificate(self) -> bytes | None:
        """The client's certificate in DER, if it has presented one."""
        return self._tls.getpeercert(binary_form=True)

    def protocol(self) -> str | None:
        """The protocol that the client has chosen (ALPN)."""
        return self._tls.selected_alpn_protocol()

    def pending(self) -> bool:
        """True if a part of what has come is still to be received."""
        return self._tls.pending() > 0 or self._incoming.pending > 0

    def recv(self, size: int = RECORD_BYTES, flags: int = 0) -> bytes:
        """Receive at most `size` bytes of one record; none at the end. Raises `BlockingIOError` if there is no more."""
        if self._ended:
            return super().recv(size)
        if not self.pending():
            self._feed()
        try:
            data = self._tls.read(size)
        # OpenSSL answers requests for a new key with what is sent next.
        except ssl.SSLWantReadError:
            raise BlockingIOError from None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        self._silent = 0
        return data

    def send(self, data: bytes | memoryview, flags: int = 0) -> int:  # type: ignore[override]
        """Send whole records, and return how many bytes they carry. Raises `BlockingIOError` if the first must wait."""
        if self._record and not self._push():
            raise BlockingIOError
        sent, self._carried = self._carried, 0
        while sent < len(data):
            # Most of what is sent is one record, and slicing would cost a tenth of it.
            is_one = not sent and len(data) <= RECORD_BYTES
            part = data if is_one else memoryview(data)[sent : sent + RECORD_BYTES]
            self._tls.write(part)
            if not self._push():
                self._carried = len(part)
                if not sent:
                    raise BlockingIOError
                return sent
            sent += len(part)
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
        self._ended = True
        super().shutdown(how)

    def close(self) -> None:
        """Close after a close_notify, if the socket takes it at once (RFC 8446, section 6.1)."""
        self._notify()
        super().close()

    def _notify(self) -> None:
        # Not into the middle of a record. It raises if the connection is broken or not established, or was notified
        # before; and because the client's close_notify, for which it would wait, has not come.
        if self.fileno() >= 0 and not self._record:
            with suppress(OSError):
                self._tls.unwrap()
            with suppress(OSError):
                self._push()

    def _feed(self) -> None:
        """Take encrypted bytes from the socket. Raises `BlockingIOError` if there are none, and `OSError`."""
        data = super().recv(FEED_BYTES)
        self._silent += len(data)
        if self._silent > SILENT_BYTES:
            raise ConnectionAbortedError(errno.ECONNABORTED, "its TLS carries nothing")
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _push(self) -> bool:
        """Send what is encrypted; False if the socket has not taken all of it."""
        record = self._record + self._outgoing.read() if self._record else self._outgoing.read()
        sent = 0
        if record:
            with suppress(BlockingIOError):
                sent = super().send(record)
        self._record = record[sent:]
        return not self._record


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
