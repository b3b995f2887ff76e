"""The service manager, such as systemd: it is told the state of a hub, watches it, and hands over sockets.

See sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3). These protocols take no library, and any other service
manager that speaks them will do.
"""

import faulthandler
import logging
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from time import monotonic_ns

import trio

from ..errors import ConfigError

# The first descriptor that is handed over (SD_LISTEN_FDS_START).
FIRST_DESCRIPTOR = 3

# The descriptor of standard error, whatever Python writes to.
ERRORS = 2

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"

logger = logging.getLogger(__package__)


def reloading() -> str:
    """State of a service that has begun to reload; `READY` ends it."""
    return f"RELOADING=1\nMONOTONIC_USEC={monotonic_ns() // 1000}"


def status(text: str) -> str:
    """State that people read in ``systemctl status``."""
    return "STATUS=" + "; ".join(text.splitlines())


class ServiceManager:
    """The service manager that has started the process, and is told of its state; nobody is told without one.

    Its variables are taken out of the `environ`: a process that the hub starts must not take them for its own.
    """

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        address = environ.pop("NOTIFY_SOCKET", "")
        # An abstract one, which is no file.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog_pid, watchdog_us = environ.pop("WATCHDOG_PID", ""), environ.pop("WATCHDOG_USEC", "")
        is_ours = watchdog_pid in ("", str(os.getpid()))
        self.watchdog_s = int(watchdog_us) / 1e6 if is_ours and watchdog_us.isdecimal() else 0.0
        """Time after which it restarts a service that does not tell `WATCHDOG`; 0 if it never does."""

    async def tell(self, *states: str) -> None:
        """Tell it this state. What it cannot be told is logged."""
        if not self._address:
            return
        try:
            with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                await sock.connect(self._address)
                # A file may have a name that is no text.
                await sock.send("\n".join(states).encode(errors="backslashreplace"))
        except OSError as error:
            logger.warning("the service manager cannot be told %s: %s", states[0].partition("\n")[0], error)

    async def feed_watchdog(self) -> None:
        """Tell it that the event loop runs, twice in the time of its watchdog, until cancelled.

        A process that it aborts, because the loop is blocked, says where.
        """
        if self.watchdog_s:
            faulthandler.enable(file=ERRORS)
        while self.watchdog_s:
            await self.tell(WATCHDOG)
            await trio.sleep(self.watchdog_s / 2)


@dataclass(frozen=True, slots=True)
class InheritedSocket:
    """A socket that systemd has handed over."""

    sock: socket.socket
    name: str
    """Its ``FileDescriptorName=``, by default the name of the socket unit."""


def inherited_sockets(environ: MutableMapping[str, str]) -> list[InheritedSocket]:
    """The sockets that systemd has handed over to this process. Their variables are taken out of the `environ`.

    Raises `ConfigError` for what is no socket: without it, the hub might listen where nobody has asked it to.
    """
    pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    named = names.split(":") + [""] * int(count)
    sockets = []
    for descriptor, name in zip(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)), named, strict=False):
        try:
            # No child process of the hub needs it.
            os.set_inheritable(descriptor, False)
            sockets.append(InheritedSocket(socket.socket(fileno=descriptor), name))
        except OSError:
            raise not_listening(name) from None
    return sockets


def not_listening(name: str) -> ConfigError:
    """The error for what systemd has handed over with this name, and is no socket to accept connections from."""
    return ConfigError(f"the socket {name!r} of systemd accepts no connections: it needs ListenStream=")
