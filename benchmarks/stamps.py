"""Messages that say when they were to be sent, so that whoever receives them knows how long that took."""

import struct
import time

STAMP = b"\xffSENT AT\xff"


def stamped(sent_at: float, size: int) -> bytes:
    """A body that says when it was to be sent."""
    return (STAMP + struct.pack("<d", sent_at)).ljust(size, b".")


def delays_of(data: bytes) -> list[float]:
    """How long ago the messages were to be sent that are in what was received just now."""
    now = time.perf_counter()
    delays = []
    place = data.find(STAMP)
    while 0 <= place <= len(data) - len(STAMP) - 8:
        delays.append(now - struct.unpack_from("<d", data, place + len(STAMP))[0])
        place = data.find(STAMP, place + 1)
    return delays
