"""The messages in what the load generator receives."""


class MessageCounter:
    """Counts the messages in what a server sends on a websocket, without a look at their bodies."""

    def __init__(self) -> None:
        # Begin of a frame, too short to know the size.
        self._head = b""
        # Bytes of the last frame that have yet to come, and whether it is a message: not so a ping.
        self._left = 0
        self._is_message = False

    def count(self, data: bytes) -> int:
        """Number of messages that end in this data, which follows what was counted before."""
        data = self._head + data
        place, messages = self._left, 0
        if 0 < place <= len(data):
            messages += self._is_message
        while (start := place + _head_size(data, place)) <= len(data):
            self._is_message = data[place] & 0x0F < 8
            place = start + _body_size(data, place, start)
            if place <= len(data):
                messages += self._is_message
        self._left, self._head = max(0, place - len(data)), data[place:]
        return messages


def _head_size(data: bytes, place: int) -> int:
    # RFC 6455, section 5.2: a server's frame has no mask.
    return {126: 4, 127: 10}.get(data[place + 1], 2) if place + 1 < len(data) else 2


def _body_size(data: bytes, place: int, start: int) -> int:
    return int.from_bytes(data[place + 2 : start]) if start > place + 2 else data[place + 1]
