"""Charsets: bodies as text, whatever their sender calls them.

What is UTF-8 is read as that, since many senders declare a charset that they do not use; other bytes as declared. Only
charsets of the list below are used: some of Python's codecs decompress, execute escapes or take quadratic time.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from encodings.aliases import aliases
from json import detect_encoding
from typing import Literal

_ALLOWED = {
    *("utf_8", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "koi8_r", "koi8_u"),
    *(f"iso8859_{part}" for part in (2, 3, 4, 5, 6, 7, 8, 10, 13, 14, 15, 16)),
    *(f"cp{page}" for page in (437, 850, 852, 855, 858, 866, 874, 932, 949, *range(1250, 1259))),
    *("euc_jp", "iso2022_jp", "gb18030", "big5", "big5hkscs", "mac_roman", "mac_cyrillic"),
}
# As in browsers: senders name the smaller charset, and use characters of the larger one.
# https://encoding.spec.whatwg.org/#names-and-labels
_LARGER = {
    **dict.fromkeys(("ascii", "latin_1"), "cp1252"),
    **dict.fromkeys(("iso8859_11", "tis_620"), "cp874"),
    **dict.fromkeys(("gb2312", "gbk"), "gb18030"),
    "iso8859_9": "cp1254",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
}
# Other names of browsers that Python does not know.
_OTHER_NAMES = {
    **dict.fromkeys(("koi", "koi8"), "koi8_r"),
    **dict.fromkeys(("unicode", "ucs_2", "iso_10646_ucs_2", "unicodefeff"), "utf_16_le"),
    **dict.fromkeys(("iso_ir_149", "ks_c_5601_1989"), "euc_kr"),
    **dict.fromkeys(("logical", "visual"), "iso8859_8"),
    "cn_big5": "big5",
    "eucpkdfmtjapanese": "euc_jp",
    "koi8_ru": "koi8_u",
    "mac": "mac_roman",
    "mac_ukrainian": "mac_cyrillic",
    "sun_eu_greek": "iso8859_7",
    "unicodefffe": "utf_16_be",
    "windows_31j": "cp932",
}
# What does not count in a name: https://unicode.org/reports/tr22/#Charset_Alias_Matching
_IGNORED = re.compile(r"[^a-z0-9]+|(?<![0-9])0+(?=[0-9])")
_CODECS = {
    _IGNORED.sub("", name): larger
    for name, codec in {**aliases, **_OTHER_NAMES, **{name: name for name in (*_ALLOWED, *_LARGER)}}.items()
    if (larger := _LARGER.get(codec, codec)) in _ALLOWED
}
# Other spellings, such as x-x-big5, csISO88598I, csISOLatin9, windows-936 and IBM858.
_SPELLINGS = (
    (re.compile(r"^(x|cs)+"), ""),
    (re.compile(r"^iso(?=latin)"), ""),
    (re.compile(r"^(iso8859[0-9]+)[ei]$"), r"\1"),
    (re.compile(r"^(windows|win|dos|ibm|ms)([0-9]+)$"), r"cp\2"),
)
BYTE_ORDER_MARK = "\ufeff"
# Charsets in which text can be valid UTF-8.
_LIKE_UTF_8 = ("utf_16", "utf_32", "iso2022_jp")
_JSON_START = re.compile(rb'[\0\s]*[{\["]')
_JSON_ENDS = (b"}", b"]", b'"')
_MAX_NAME = 40
_BYTE_ORDER_MARKS = ("utf-8-sig", "utf-16", "utf-32")
_PARAMETERS = {
    name: re.compile(rf';\s*{name}\s*=\s*(?:"([^"]*)"|([^\s;"]+))', re.IGNORECASE) for name in ("charset", "boundary")
}


def decode(body: bytes, charset: str | None = None) -> str | None:
    """Text of a body by its byte order mark, as UTF-8, or in a declared charset; None if it is none of these.

    The mark is no part of it. JSON is read also if no charset is declared that its bytes are in: in UTF-16 and UTF-32
    (RFC 4627, section 3), and as Windows-1252.
    """
    # Most bodies by far, whatever they declare.
    if not _may_be_other(body):
        try:
            return body.decode().lstrip(BYTE_ORDER_MARK)
        except UnicodeDecodeError:
            pass
    for codec in _candidates(body, codec_of(charset)):
        with suppress(UnicodeDecodeError):
            return body.decode(codec).lstrip(BYTE_ORDER_MARK)
    return None


def codec_of(charset: str | None) -> str | None:
    """Python's codec for a charset; None if it is unknown or not allowed."""
    # Python keeps every name that it is asked for, for ever: it is asked for those of the list only.
    name = _IGNORED.sub("", (charset or "")[:_MAX_NAME].lower())
    for pattern, known in _SPELLINGS:
        name = name if name in _CODECS else pattern.sub(known, name)
    return _CODECS.get(name)


def parameter(content_type: str, name: Literal["charset", "boundary"]) -> str | None:
    """Value of a parameter of ``Content-Type``; None if there is none."""
    match = _PARAMETERS[name].search(content_type)
    return match and (match[1] or match[2])


def _candidates(body: bytes, declared: str | None) -> Iterator[str]:
    detected = detect_encoding(body)
    is_json = _JSON_START.match(body)
    if detected in _BYTE_ORDER_MARKS or (is_json and detected != "utf-8"):
        yield detected
    if declared and declared.startswith(_LIKE_UTF_8) and _may_be_other(body):
        yield declared
    yield "utf-8"
    if declared:
        yield declared
    if is_json and body.rstrip().endswith(_JSON_ENDS):
        yield (declared := "cp1252")
    # Windows-1252 lacks five of its characters.
    if declared == "cp1252":
        yield "latin-1"


def _may_be_other(text: bytes) -> bool:
    """True if valid UTF-8 may be text in another charset, too: it has bytes that text in UTF-8 has no use for."""
    return b"\0" in text or b"\x1b" in text
