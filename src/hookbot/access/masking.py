"""Masking of what may be a secret in text that untrusted clients sent, before it is shown."""

import re

MASK = "…"
# A hex token that is cut off may stand at the end of a clipped text: of this much of one, too little is known to guess
# the rest. No word is as long.
_RUN = re.compile(r"(?<![\w-])(?<!SHA-256 )[\w-]{25,}", re.ASCII)
_HEX = re.compile(r"[0-9a-fA-F]{25}")
_MIXED_LENGTH = 32
_MIXED = tuple(map(re.compile, ("[0-9]", "[a-z]", "[A-Z]")))
_PARAMETER = re.compile(r"([?&][^=&\s]{0,40}=)[^&\s'\"]+")
_USER_INFO = re.compile(r"(?<=//)[^/\s]{1,500}@")


def masked(text: str) -> str:
    """The text without what looks like a token, a key or a signature, the user of a URL, or the values of its query.

    Linear in the length of the text. The SHA-256 of a body, as errors write it, stays.
    """
    text = _RUN.sub(_hidden, text)
    if "//" in text:
        text = _USER_INFO.sub(f"{MASK}@", text)
    return _PARAMETER.sub(rf"\1{MASK}", text) if "=" in text else text


def _hidden(run: re.Match[str]) -> str:
    # Base64 of so many bytes has digits and letters of both cases; a name or a UUID hardly ever.
    found = run[0]
    is_mixed = len(found) >= _MIXED_LENGTH and all(kind.search(found) for kind in _MIXED)
    return MASK if is_mixed or _HEX.search(found) else found
