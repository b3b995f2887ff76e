"""Sizes in bytes, as people write them."""

import re

_SIZE = re.compile(r"([0-9]{1,15})(B|[KMGT]i?B?)", re.IGNORECASE)
_SHIFTS = {"b": 0, "k": 10, "m": 20, "g": 30, "t": 40}


def parse_size(text: str) -> int:
    """Bytes of a size such as ``512B``, ``25MiB`` or ``1GB``, in powers of 1024; raises `ValueError`."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a size such as 25MiB or 1GiB: {text!r}")
    return int(match[1]) << _SHIFTS[match[2][0].lower()]
