"""Trace context (W3C): the id by which systems for tracing know the request that a sender has made, or passed on."""

import re

# Version, trace, parent and flags; ids of nothing but zeros are invalid, and so is the version ff.
_TRACEPARENT = re.compile(r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def trace_id(traceparent: str) -> str:
    """The trace id in the value of a header ``traceparent``, 32 hexadecimal digits; empty if the value is invalid.

    What later versions add behind the fields of the first is ignored, however long it is.
    """
    found = _TRACEPARENT.match(traceparent)
    rest = found and traceparent[found.end() : found.end() + 1]
    return found[2] if found and (not rest or (rest == "-" and found[1] != "00")) else ""
