"""The sockets that a hub listens on: those that systemd hands over, and those of ``--bind``."""

import errno
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, nullcontext, suppress
from pathlib import Path

from ..errors import ConfigError, system_reason
from ..web.listening import ListeningSocket
from ..web.tls import Tls
from .bind_address import BindAddress
from .config import Config
from .systemd import InheritedSocket

# After a restart thousands of subscribers reconnect at once. Linux caps this at net.core.somaxconn.
BACKLOG = 8192
# Where nothing is set and nothing handed over.
DEFAULT = ":8080"
# Scheme of an address, or FileDescriptorName= of systemd, whose connections are never encrypted.
PLAIN = "http"


@asynccontextmanager
async def listening(
    config: Config, tls: Tls | None, inherited: Sequence[InheritedSocket] = ()
) -> AsyncIterator[Sequence[ListeningSocket]]:
    """The sockets of the hub, which accept connections until the end of the block.

    With `tls`, connections are encrypted, but for those of Unix sockets and of what is named ``http``. Raises
    `ConfigError`.
    """
    with ExitStack() as opened:
        sockets = [opened.enter_context(_inherit(one, tls)) for one in inherited]
        for text in config.bind or (() if inherited else (DEFAULT,)):
            try:
                address = BindAddress.parse(text)
                sock = opened.enter_context(_bound(address, text))
            except ConfigError as error:
                raise config.error("bind", str(error)) from None
            sockets.append(ListeningSocket(sock, None if address.scheme == PLAIN else tls))
        yield sockets


@contextmanager
def _inherit(one: InheritedSocket, tls: Tls | None) -> Iterator[ListeningSocket]:
    with one.sock as sock:
        is_unix = sock.family == getattr(socket, "AF_UNIX", None)
        if sock.type != socket.SOCK_STREAM or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise ConfigError(f"the socket {one.name!r} of systemd accepts no connections: it needs ListenStream=")
        if not is_unix and sock.family not in (socket.AF_INET, socket.AF_INET6):
            raise ConfigError(f"the socket {one.name!r} of systemd is neither TCP nor Unix")
        yield ListeningSocket(sock, None if is_unix or one.name == PLAIN else tls, kept=True)


@contextmanager
def _bound(address: BindAddress, text: str) -> Iterator[socket.socket]:
    try:
        sock = _bind_unix(address.path, address.mode) if address.path else _bind_tcp(address.host, address.port)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"the hub cannot listen on {text!r}: {system_reason(error)}") from None
    with sock, _removed(address.path) if address.path else nullcontext():
        yield sock


@contextmanager
def _removed(path: Path) -> Iterator[None]:
    """Remove the file of a Unix socket at the end, but not that of a hub that has come meanwhile."""
    with ExitStack() as opened:
        # The socket may be closed by then, and its inode be that of the other one, unless it is held.
        if hasattr(os, "O_PATH"):
            opened.callback(os.close, os.open(path, os.O_PATH))
        file = path.stat()
        try:
            yield
        finally:
            with suppress(OSError):
                if os.path.samestat(path.stat(), file):
                    path.unlink()


def _bind_tcp(host: str, port: int) -> socket.socket:
    everywhere = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if everywhere or ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG, dualstack_ipv6=everywhere)


def _bind_unix(path: Path, mode: int) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        with suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.stat().st_mode):
                raise FileExistsError(errno.EEXIST, "it is no socket")
            _remove_if_stale(path)
        sock.bind(str(path))
        # Before it listens, nobody can connect.
        path.chmod(mode)
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return sock


def _remove_if_stale(path: Path) -> None:
    """Remove a socket whose process is gone. Raises `OSError` if there is one that accepts connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        if probe.connect_ex(str(path)) != errno.ECONNREFUSED:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path.unlink()
