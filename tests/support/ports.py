"""Ports for programs that are told which one to take."""

import os
import random
import socket
from itertools import cycle, islice

# Beneath those that the system gives away: nobody is given one by chance, and an outgoing connection that tries again
# and again to reach a port where nobody serves is not given that very port, to talk to itself.
_GIVEN_TO_NOBODY = range(20_000, 32_000)
# More than pytest has workers: no two of them choose the same port.
_WORKERS = 60
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_OWN = _GIVEN_TO_NOBODY[_WORKER % _WORKERS :: _WORKERS]
# In turn, since one that was given to a program may not have been taken yet.
_IN_TURN = cycle(random.sample(_OWN, len(_OWN)))


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that stay free while nobody serves there, and have not been given to anybody for a while."""
    return list(islice(filter(_is_free, _IN_TURN), count))


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        # As servers do: a connection that has ended keeps its port for a minute.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
