"""Many connections to one server, opened at once."""

import select
import socket
import ssl
import time

from .protocols import Dialogue

PATIENCE_S = 60.0
SMALL_BUFFER = 4 << 10


class Lost(Exception):
    """Something did not arrive, or was refused."""


def connect(
    port: int, dialogue: Dialogue, count: int, *, at_once: int = 200, tls: ssl.SSLContext | None = None
) -> list[socket.socket]:
    """Open `count` connections and go through the dialogue on each; at most `at_once` of them are under way.

    Raises `Lost` if the server refuses one.
    """
    finished: list[socket.socket] = []
    talks: dict[int, _Talk] = {}
    started = 0
    deadline = time.monotonic() + PATIENCE_S
    with select.epoll() as poll:
        while len(finished) < count:
            while started < count and len(talks) < at_once:
                talk = _Talk(_open(port, tls), dialogue)
                started += 1
                if talk.finished:
                    finished.append(talk.sock)
                else:
                    talks[talk.sock.fileno()] = talk
                    poll.register(talk.sock, select.EPOLLIN)
            for fd, _ in poll.poll(1.0) if talks else ():
                if talks[fd].listen():
                    poll.unregister(fd)
                    finished.append(talks.pop(fd).sock)
            if time.monotonic() > deadline:
                raise Lost(f"only {len(finished)} of {count} connections were accepted")
    return finished


class _Talk:
    """A dialogue under way."""

    def __init__(self, sock: socket.socket, dialogue: Dialogue) -> None:
        self.sock = sock
        self._heard = b""
        self._turns = iter(dialogue)
        self._until = b""
        self.finished = not self._say_next()

    def listen(self) -> bool:
        """Take what came; whether that was the end of the dialogue."""
        try:
            data = self.sock.recv(1 << 16)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        self._heard += data
        if not data or not self._heard.startswith(b"HTTP/1.1 101"[: len(self._heard)]):
            raise Lost(f"a handshake was answered {self._heard[:200]!r}")
        return self._until in self._heard and not self._say_next()

    def _say_next(self) -> bool:
        say, self._until = next(self._turns, (b"", b""))
        self.sock.sendall(say)
        return bool(say)


def _open(port: int, tls: ssl.SSLContext | None) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls:
        sock = tls.wrap_socket(sock)
    sock.setblocking(False)
    return sock
