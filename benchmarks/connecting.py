"""Connections to one server, opened many at once."""

import select
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from itertools import cycle

from benchmarks.protocols import Dialogue

# Far above the time that any contestant needs for thousands of handshakes: only a lost connection takes longer.
PATIENCE_S = 60.0


class Lost(Exception):
    """`count` messages or connections did not arrive in time, were refused, or broke."""

    def __init__(self, what: str, count: int = 1) -> None:
        super().__init__(what)
        self.count = count


class Connection:
    """A connection and the dialogue that opens it; bytes received after the dialogue are in `early`."""

    def __init__(self, port: int, dialogue: Dialogue, tls: ssl.SSLContext | None) -> None:
        self.sock = _open(port, tls)
        self.early = b""
        self._turns = iter(dialogue)
        self._expected = b""
        self.opened = not self._say_next()

    def listen(self) -> None:
        """Receive and go to the next turn of the dialogue. Raises `Lost` if the server refuses."""
        try:
            data = self.sock.recv(1 << 16)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        self.early += data
        if not data or self.early.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")):
            raise Lost(f"the server refused a handshake: {self.early[:200]!r}")
        _, expected, rest = self.early.partition(self._expected)
        if expected:
            self.early = rest
            self.opened = not self._say_next()

    def _say_next(self) -> bool:
        say, self._expected = next(self._turns, (b"", b""))
        self.sock.sendall(say)
        return bool(say)


def connect(
    ports: Sequence[int], dialogues: Iterable[Dialogue], *, tls: ssl.SSLContext | None = None
) -> list[Connection]:
    """Open a connection for each dialogue, all at once, to each of the ports in turn.

    Raises `Lost` if a server refuses one, or after a minute.
    """
    connections: list[Connection] = []
    opening: dict[int, Connection] = {}
    deadline = time.monotonic() + PATIENCE_S
    with select.epoll() as poll:
        for port, dialogue in zip(cycle(ports), dialogues, strict=False):
            connection = Connection(port, dialogue, tls)
            connections.append(connection)
            if not connection.opened:
                opening[connection.sock.fileno()] = connection
                poll.register(connection.sock, select.EPOLLIN)
        while opening:
            for fd, _ in poll.poll(1.0):
                opening[fd].listen()
                if opening[fd].opened:
                    poll.unregister(fd)
                    del opening[fd]
            if time.monotonic() > deadline:
                raise Lost(f"{len(opening)} of {len(connections)} connections were not opened in time", len(opening))
    return connections


def _open(port: int, tls: ssl.SSLContext | None) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        sock = tls.wrap_socket(sock, server_hostname="localhost")
    sock.setblocking(False)
    return sock
