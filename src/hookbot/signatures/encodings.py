"""Encodings of signatures and keys as text, by their names."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping


def _from_base64(text: str) -> bytes:
    # Some providers issue secrets without their padding.
    return b64decode(text + "=" * (-len(text) % 4), validate=True)


DECODERS: Mapping[str, Callable[[str], bytes]] = {
    "hex": bytes.fromhex,
    "base64": _from_base64,
    "text": lambda text: text.encode("utf-8", "surrogateescape"),
}
ENCODERS: Mapping[str, Callable[[bytes], str]] = {"hex": bytes.hex, "base64": lambda data: b64encode(data).decode()}
