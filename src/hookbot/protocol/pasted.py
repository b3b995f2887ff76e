"""Text that people paste and save: keys, secrets, tokens, lists, headers and configuration, as they are meant.

Windows PowerShell saves in UTF-16, editors begin a file with a byte order mark, dashboards and shells leave blanks and
line ends around a value. At its edges these are removed. Within it nobody can tell whether they are meant, so that it
is refused with an error that names the character, and never shows the value.
"""

import codecs
import re
import unicodedata
from pathlib import Path

from ..errors import ConfigError, system_reason

# Those of UTF-32 come first: in little-endian order, theirs begins like that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
# No list or configuration has as much. A device may have no end.
_MAX_BYTES = 64 << 20
# Unicode's categories of controls, formats (of which some have no width), separators and blanks.
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
# Unicode has no names for controls.
_CONTROLS = {"\0": "NUL", "\t": "TAB", "\n": "LINE FEED", "\r": "CARRIAGE RETURN"}
_QUOTES = frozenset({'""', "''", "``", "“”", "„“", "‘’", "«»", "<>"})
# References to variables as shells, PowerShell, cmd, Compose, Ansible and Helm write them.
_REFERENCE = re.compile(
    r"\$[({].*[)}]|\$[A-Z_][A-Z0-9_]*|%[A-Z_][A-Z0-9_]*%|\{\{.*\}\}|(?i:\$?env:|file:).*", re.DOTALL
)
_LINE_END = re.compile(r"\r\n|\r|\n")
_PEM = "-----BEGIN "
# Without headers, which only encrypted keys have.
_BLOCK = re.compile(r"(-----BEGIN [A-Z0-9 ]+-----)([^-]*)(-----END [A-Z0-9 ]+-----)")

# As `openssl rand -base64 64` and `base64` wrap it. Lines of 64 hexadecimal digits may be several secrets.
_WRAPPED = re.compile(
    r"(?![0-9A-Fa-f]{64}\s)(?:(?:[A-Za-z0-9+/]{64}\s+)+|(?:[A-Za-z0-9+/]{76}\s+)+)"
    r"(?:[A-Za-z0-9+/]{4}){0,15}(?:[A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{2}==)"
)


def read_text(path: Path, shown: str = "", *, errors: str = "strict") -> str:
    """Text of a file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; lines end with a line feed.

    `errors` is that of `bytes.decode`. Raises `ConfigError`, which calls the file `shown`, if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
        if len(data) <= _MAX_BYTES:
            return decode(data, errors=errors)
        reason = f"it has more than {_MAX_BYTES >> 20} MiB"
    except UnicodeError:
        reason = "it is neither UTF-8 nor UTF-16 with a byte order mark: save it as UTF-8"
    # Python raises ValueError for a NUL character in a path, which a string in TOML can have.
    except (OSError, ValueError) as error:
        reason = system_reason(error)
    raise ConfigError(f"{shown or path} cannot be read: {reason}")


def decode(data: bytes, *, errors: str = "strict") -> str:
    """Text of bytes, without its byte order mark; see `read_text`. Raises `UnicodeError`, also for a NUL character."""
    encoding = next((encoding for mark, encoding in _MARKS if data.startswith(mark)), "utf-8")
    text = data.decode(encoding, errors)
    # UTF-16 without its mark is valid UTF-8 with a NUL character after each letter.
    if "\0" in text:
        raise UnicodeError("the text has NUL characters")
    return _LINE_END.sub("\n", text.lstrip("\ufeff"))


def is_marked(path: Path) -> bool:
    """True if a file begins with a byte order mark. Raises `OSError`."""
    # What is read of a pipe is gone for the next reader.
    if not path.is_file():
        return False
    with path.open("rb") as file:
        beginning = file.read(4)
    return any(beginning.startswith(mark) for mark, _ in _MARKS)


def check_unmarked(path: Path) -> None:
    """Raise `ValueError` if a file that OpenSSL reads begins with a byte order mark: it would skip the first block."""
    if is_marked(path):
        raise ValueError(f"{path.name} begins with a byte order mark: save it as ASCII, or as UTF-8 without one")


def no_password() -> str:
    """Callback for OpenSSL that raises `ValueError`: without one, it would ask on the terminal for a key's password."""
    raise ValueError("the key is encrypted: it must have no password, as openssl pkey writes it")


def trim(text: str) -> str:
    """Text without what cannot be seen at its edges: white space of any kind, and characters without width."""
    seen = [index for index, char in enumerate(text) if unicodedata.category(char) not in _UNSEEN]
    return text[seen[0] : seen[-1] + 1] if seen else ""


def lines_of(text: str, where: str, *, comments: bool = False) -> tuple[str, ...]:
    """Lines of a text, trimmed, without empty ones and, if there are `comments`, without those that begin with ``#``.

    Only what ends a line of a file ends it, unlike `str.splitlines`. Raises `ConfigError`, which says ``line 3 of`` and
    `where`, if one contains a character that cannot be seen.
    """
    numbered = enumerate(map(trim, _LINE_END.split(text)), 1)
    meant = ((number, line) for number, line in numbered if line and not (comments and line.startswith("#")))
    return tuple(check_seen(line, f"line {number} of {where}") for number, line in meant)


def unseen_in(text: str, allowed: str = " ") -> str:
    """Name of the first character that cannot be seen, such as ``U+200B ZERO WIDTH SPACE``; empty if there is none."""
    for char in text:
        if unicodedata.category(char) in _UNSEEN and char not in allowed:
            return f"U+{ord(char):04X} {_CONTROLS.get(char) or unicodedata.name(char, 'CONTROL')}"
    return ""


def as_seen(text: str) -> str:
    """Text as people see it: with spaces for blanks of any kind, and without other characters that cannot be seen."""
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in text)
    return "".join(char for char in spaced if char == " " or unicodedata.category(char) not in _UNSEEN)


def check_seen(text: str, where: str, allowed: str = " ") -> str:
    """The text unchanged. Raises `ConfigError` if it has a character that cannot be seen and is not `allowed`."""
    if unseen := unseen_in(text, allowed):
        raise ConfigError(f"{where} contains {unseen}, which cannot be seen: remove it")
    return text


def unquote(text: str) -> str:
    """Text without the quotation marks or angle brackets around it, for values in which these are never meant."""
    return trim(text[1:-1]) if text[:1] + text[1:][-1:] in _QUOTES else text


def clean_secret(text: str, where: str) -> str:
    r"""A secret, trimmed; one in PEM with its line ends, which variables have as ``\n`` or as blanks.

    Base64 that was wrapped is in one line again.
    Raises `ConfigError`, which calls it `where`, if it contains a character that cannot be seen, or is in quotation
    marks, which might be a part of it, and if it is the name of a secret.
    """
    secret = trim(text)
    if _PEM in secret:
        return _BLOCK.sub(_in_lines, trim(secret.replace(r"\r", "").replace(r"\n", "\n")))
    if _WRAPPED.fullmatch(secret):
        return "".join(secret.split())
    # A JSON Web Key has lines.
    check_seen(secret, where, allowed=" \t\r\n" if secret.startswith("{") else " ")
    if unquote(secret) != secret:
        raise ConfigError(f"{where} is in {secret[0]}{secret[-1]}, which would be a part of it: remove them")
    if is_name(secret):
        raise ConfigError(f"{where} is the name of a variable or file, not its value: write env:NAME or file:PATH")
    return secret


def is_name(secret: str) -> bool:
    """True if a secret is a reference to one that nothing has replaced, so that anybody could guess it."""
    return bool(_REFERENCE.fullmatch(secret))


def _in_lines(block: re.Match[str]) -> str:
    return "\n".join((block[1], *filter(None, map(trim, block[2].split())), block[3]))
