"""Text that is safe to show on a terminal, whoever wrote it: a publisher, a hub, or whatever answers in its place."""

# Not printable, but harmless: the joiners (U+200C, U+200D) are parts of words and of emoji.
_HARMLESS = frozenset("\u200c\u200d")
_LAYOUT = frozenset("\n\t")
MAX_LINE = 4000
"""Characters shown of a line. Sentences have some hundred; more would only push them out of sight."""


def escaped(text: str) -> str:
    """The text with all characters escaped that a terminal might interpret, except newline and tab.

    These are control characters, those that change the direction of text or are invisible, and lone surrogates.
    """
    return _escape(text, _HARMLESS | _LAYOUT)


def one_line(text: str) -> str:
    """The text as `escaped`, newlines and tabs too, and cut to `MAX_LINE` characters, so that it forges no line."""
    return _escape(text if len(text) <= MAX_LINE else f"{text[:MAX_LINE]}...", _HARMLESS)


def _escape(text: str, kept: frozenset[str]) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)
