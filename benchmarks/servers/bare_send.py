"""The lower bound of the cost, a bare loop of ``socket.send``: ``python -m benchmarks.servers.bare_send PORT``.

A certificate and its key as further arguments make it serve TLS. It validates nothing: a GET is a subscriber, anything
else a publish.
"""

import select
import socket
import ssl
import sys

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nOK\n"


def run(port: int, tls: ssl.SSLContext | None) -> None:
    """Serve until killed."""
    listener = socket.create_server(("127.0.0.1", port), backlog=8192)
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    subscribers: dict[int, socket.socket] = {}
    unfinished: dict[int, bytes] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                if client := accept(listener, tls):
                    clients[client.fileno()] = client
                    poll.register(client, select.EPOLLIN)
                continue
            data = unfinished.pop(fd, b"") + clients[fd].recv(1 << 16)
            if not data:
                subscribers.pop(fd, None)
                clients.pop(fd).close()
            elif fd in subscribers:
                continue
            elif data.startswith(b"GET"):
                clients[fd].send(SWITCHING)
                subscribers[fd] = clients[fd]
            elif len(body := data.partition(b"\r\n\r\n")[2]) < body_size(data):
                unfinished[fd] = data
            else:
                frame = make_frame(body)
                for subscriber in subscribers.values():
                    subscriber.send(frame)
                clients[fd].send(OK)


def accept(listener: socket.socket, tls: ssl.SSLContext | None) -> socket.socket | None:
    """The next connection after its handshake, None if there was none."""
    client, _ = listener.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        return tls.wrap_socket(client, server_side=True) if tls else client
    except OSError:
        # Somebody only looked whether the port is open.
        return None


def context(*files: str) -> ssl.SSLContext | None:
    """TLS with the files of a certificate and its key, None without."""
    if not files:
        return None
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*files)
    return tls


def body_size(request: bytes) -> int:
    """Value of the Content-Length header."""
    return int(request.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])


def make_frame(body: bytes) -> bytes:
    """Binary websocket frame."""
    size = len(body)
    if size < 126:
        return bytes((0x82, size)) + body
    if size < 1 << 16:
        return b"\x82\x7e" + size.to_bytes(2, "big") + body
    return b"\x82\x7f" + size.to_bytes(8, "big") + body


if __name__ == "__main__":
    run(int(sys.argv[1]), context(*sys.argv[2:]))
