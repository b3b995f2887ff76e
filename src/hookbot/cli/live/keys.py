"""Keys: what a terminal sends when somebody presses them."""

import codecs
import re

# A sequence of ECMA-48 (``ESC [``) or of application mode (``ESC O``), the escape key alone, or a character.
_KEY = re.compile(r"\x1b\[([0-?]*)[ -/]*([@-~])|\x1bO([ -~])|.", re.DOTALL)
_UNFINISHED = re.compile(r"\x1b(\[[0-?]*[ -/]*|O)?\Z")
# No key has a longer sequence.
_MAX_SEQUENCE = 32

_FINAL = {"A": "up", "B": "down", "C": "right", "D": "left", "H": "home", "F": "end", "M": "enter"}
_NUMBERED = {"1": "home", "4": "end", "5": "page up", "6": "page down", "7": "home", "8": "end"}
_CONTROL = {
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x15": "clear",
    "\x0c": "redraw",
    "\x02": "page up",
    "\x06": "page down",
}


class Keys:
    """A decoder of keys: printable characters as they are, other keys by name, such as ``up`` and ``escape``.

    Keys that have no meaning here, and bytes that are not UTF-8, are left out.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("ignore")
        self._rest = ""

    @property
    def is_unfinished(self) -> bool:
        """True if what was fed last may be the escape key, or the beginning of another one."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """Keys in what a terminal has sent; the beginning of one is kept for the next call."""
        text = self._rest + self._decoder.decode(data)
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished and len(text) - unfinished.start() < _MAX_SEQUENCE else len(text)
        self._rest = text[end:]
        return _keys(text[:end])

    def finish(self) -> list[str]:
        """Keys in what is kept, if no more of it comes."""
        text, self._rest = self._rest, ""
        return _keys(text)


def _keys(text: str) -> list[str]:
    return [key for match in _KEY.finditer(text) if (key := _name(match))]


def _name(match: re.Match[str]) -> str:
    parameters, final, application = match.groups()
    if final == "~":
        return _NUMBERED.get(parameters.partition(";")[0], "")
    if final or application:
        return _FINAL.get(final or application, "")
    character = match[0]
    return _CONTROL.get(character, character if character.isprintable() else "")
