"""The service manager, such as systemd: it is told the state of a hub, watches it, and hands over sockets.

See sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3). These protocols take no library, and any other service
manager that speaks them will do.
"""

import errno
import faulthandler
import logging
import os
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from itertools import chain, repeat
from time import monotonic_ns

import trio

from ..errors import ConfigError, system_reason

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

    Raises `ConfigError` if it has handed over anything else, or less than it says.
    """
    pid, count, names = (environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    if pid != str(os.getpid()) or not count.isdecimal():
        return []
    named = chain(names.split(":"), repeat(""))
    sockets = []
    for descriptor, name in zip(range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + int(count)), named, strict=False):
        try:
            # It could not be inherited if this process had opened it.
            if not os.get_inheritable(descriptor):
                raise OSError(errno.EBADF, os.strerror(errno.EBADF))
            # No child process of the hub needs it.
            os.set_inheritable(descriptor, False)
            sockets.append(InheritedSocket(socket.socket(fileno=descriptor), name))
        except OSError as error:
            raise ConfigError(
                f"LISTEN_FDS hands over {count} sockets, but descriptor {descriptor} is none: {system_reason(error)}"
            ) from None
    return sockets
