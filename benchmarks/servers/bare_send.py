"""The lower bound of the cost, a bare loop of ``socket.send``: ``python -m benchmarks.servers.bare_send PORT``.

It validates nothing: a GET is a subscriber, anything else a publish.
"""

import select
import socket
import sys

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nOK\n"


def run(port: int) -> None:
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
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
    run(int(sys.argv[1]))
