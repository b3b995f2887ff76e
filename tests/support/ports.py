"""Ports for programs that are told which one to take."""

import os
import random
import socket
from itertools import islice

# Beneath those that the system gives away: nobody is given one by chance, and an outgoing connection that tries again
# and again to reach a port where nobody serves is not given that very port, to talk to itself.
_GIVEN_TO_NOBODY = range(20_000, 32_000)
# More than pytest has workers: no two of them choose the same port.
_WORKERS = 60


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that stay free while nobody serves there."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    own = _GIVEN_TO_NOBODY[worker % _WORKERS :: _WORKERS]
    return list(islice(filter(_is_free, random.sample(own, len(own))), count))


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
