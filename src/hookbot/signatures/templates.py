"""Templates of signed texts: parts of a request, and what stands between them.

A signature covers the text, not the parts. If the text could be divided into other parts, a signature would be valid
for a request that nobody has signed: with another id, it would pass for a new delivery. A text is therefore made only
of parts whose ends can be told: by the character after them, or by their length.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from ..errors import BadSignature

PLACEHOLDERS = ("method", "url", "body", "payload", "form", "timestamp", "id")

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
# Any bytes at all. What is left of such a part is read from the left, and what is right of it from the right.
_OPEN = ("body", "payload", "form")
# Characters of the parts that end where there is another one. Those of a URL are of RFC 3986, without the brackets,
# which occur in an IPv6 address only, so that a URL ends where a JSON array or object begins. An id that is set apart
# from the next part may have any other character.
_CHARACTERS = {
    "method": re.compile(rb"[A-Z]*"),
    "url": re.compile(rb"(https?://\[[0-9A-Fa-f:.]+\])?[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]*"),
    "id": re.compile(rb"[A-Za-z0-9_+/=.-]*"),
}


@lru_cache
def read_template(text: str) -> "Template":
    """The template that a text describes."""
    return Template(text)


class Template:
    """A signed text with placeholders, such as ``{timestamp}.{body}``."""

    def __init__(self, text: str) -> None:
        found = _PLACEHOLDER.split(text)
        self.parts: tuple[str, ...] = tuple(found[1::2])
        """Names of the placeholders, in order."""
        self._literals = [literal.encode() for literal in found[::2]]
        opens = [index for index, part in enumerate(self.parts) if part in _OPEN]
        middle = opens[0] if opens else len(self.parts) - 1
        bounded = [index for index, part in enumerate(self.parts) if part in _CHARACTERS and index != middle]
        self._ends = [(index, 1 if index < middle else -1) for index in bounded]
        """The parts that end on their right (1) or their left side (-1)."""

    def fill(self, values: Sequence[bytes]) -> bytes:
        """The text with a value for each part; raises `BadSignature` if other values could make the same text.

        Of a timestamp it is assumed that the caller has it in a narrow window: then its length is known.
        """
        for index, step in self._ends:
            self._check_end(index, values, step)
        pieces = [*self._literals, *values]
        pieces[::2], pieces[1::2] = self._literals, values
        return b"".join(pieces)

    def _check_end(self, index: int, values: Sequence[bytes], step: int) -> None:
        """Raise `BadSignature` unless it can be told where a part ends on its side of the open part."""
        part, value = self.parts[index], values[index]
        edge = 0 if step > 0 else -1
        literal = self._literals[index + 1 if step > 0 else index]
        if part == "id" and literal:
            # It ends with the first separator, which may overlap with its end, as '--' does in 'a-' and '--'.
            early = (value + literal).find(literal) < len(value) if step > 0 else (literal + value).rfind(literal) > 0
            if early:
                raise BadSignature(f"the id contains {literal.decode()!r}, which separates it from the next part")
            return
        characters = _CHARACTERS[part]
        if not characters.fullmatch(value):
            # Without the value: the query of a URL may contain a token.
            raise BadSignature(f"the {part} has a character that does not belong into one")
        for name, piece in self._beside(index, values, step):
            if name in ("", "timestamp"):
                if not characters.fullmatch(piece):
                    return
            elif piece:
                # A form has many readings anyway, so that a repeat is known by the whole text (see `Scheme.verify`).
                if (part, name) != ("url", "form") and characters.fullmatch(piece[edge : edge + 1 or None]):
                    raise BadSignature(f"the {part} could end elsewhere: the {name} next to it continues it")
                return

    def _beside(self, index: int, values: Sequence[bytes], step: int) -> Iterator[tuple[str, bytes]]:
        """Literals (without a name) and parts next to a part, outwards."""
        while True:
            yield "", self._literals[index + 1 if step > 0 else index]
            index += step
            if not 0 <= index < len(self.parts):
                return
            yield self.parts[index], values[index]
