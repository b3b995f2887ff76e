"""Timestamps in message bodies, from which the receiver computes the latency."""

import struct
import time

STAMP = b"\xffSENT AT\xff"


def stamped(sent_at: float, size: int) -> bytes:
    """Body of `size` bytes with the scheduled time of sending."""
    return (STAMP + struct.pack("<d", sent_at)).ljust(size, b".")


def delays_of(data: bytes) -> list[float]:
    """Latencies in seconds of the messages in data that was received just now."""
    now = time.perf_counter()
    delays = []
    place = data.find(STAMP)
    while 0 <= place <= len(data) - len(STAMP) - 8:
        delays.append(now - struct.unpack_from("<d", data, place + len(STAMP))[0])
        place = data.find(STAMP, place + 1)
    return delays
