"""Bodies as text, in the charset that they are in."""

import pytest

from hookbot.protocol.charsets import codec_of, decode, parameter

JSON = '{"name": "José, 10 €"}'
KANJI = '{"name": "漢字"}'

TEXTS = [
    # As declared
    (JSON.replace("€", "").encode("latin-1"), "ISO-8859-1", JSON.replace("€", "")),
    (JSON.encode("cp1252"), "windows-1252", JSON),
    (JSON.encode("iso8859-15"), "iso-8859-15", JSON),
    # As declared, and a little more
    (JSON.encode("cp1252"), "ISO-8859-1", JSON),
    ("10 €".encode("cp1252"), "us-ascii", "10 €"),
    (b"\x81", "latin1", "\x81"),
    ("①".encode("cp932"), "x-sjis", "①"),
    ("①".encode("cp932"), "Windows-31J", "①"),
    ("漢€".encode("gb18030"), "gb2312", "漢€"),
    ("똠".encode("cp949"), "ks_c_5601-1987", "똠"),
    ("ไทย".encode("cp874"), "windows-874", "ไทย"),
    ("ไทย".encode("cp874"), "ISO-8859-11", "ไทย"),
    ("功".encode("big5"), "x-x-big5", "功"),
    ("שלום".encode("iso8859-8"), "iso-8859-8-i", "שלום"),
    ("Łódź".encode("iso8859-2"), "iso88592", "Łódź"),
    ("Привет".encode("cp1251"), "x-cp1251", "Привет"),
    ("Привет".encode("koi8-r"), "KOI8", "Привет"),
    ("Привет".encode("mac_cyrillic"), "x-mac-cyrillic", "Привет"),
    ("漢字".encode("gb18030"), "GB_2312-80", "漢字"),
    ("漢字".encode("gb18030"), "windows-936", "漢字"),
    ("똠".encode("cp949"), "windows-949", "똠"),
    ("10 漢字".encode("utf-16-le"), "ISO-10646-UCS-2", "10 漢字"),
    ("é".encode("cp858"), "IBM858", "é"),
    # As the registry of IANA and others spell them
    ("é".encode("cp858"), "IBM00858", "é"),
    ("10 €".encode("iso8859-15"), "Latin-9", "10 €"),
    ("10 €".encode("iso8859-15"), "csISO885915", "10 €"),
    ("10 €".encode("cp1252"), "csISOLatin1", "10 €"),
    ("10 €".encode("cp1252"), "cswindows1252", "10 €"),
    ("שלום".encode("iso8859-8"), "csISO88598I", "שלום"),
    ("Привет".encode("cp1251"), "win-1251", "Привет"),
    ("Привіт".encode("koi8-u"), "csKOI8U", "Привіт"),
    ("똠".encode("cp949"), "KS_C_5601-1989", "똠"),
    ("똠".encode("cp949"), "csEUCKR", "똠"),
    ("日本".encode("euc_jp"), "csEUCPkdFmtJapanese", "日本"),
    ("10 漢字".encode("utf-16-be"), "csUTF16BE", "10 漢字"),
    ("10 漢字".encode("utf-16-le"), "utf16le", "10 漢字"),
    (KANJI.encode("shift_jis"), "Shift_JIS", KANJI),
    (KANJI.encode("iso2022_jp"), "ISO-2022-JP", KANJI),
    (KANJI.encode("gb18030"), "gb18030", KANJI),
    ("10 漢字".encode("utf-16-le"), "utf-16", "10 漢字"),
    ("10 漢字".encode("utf-16-be"), "UTF-16BE", "10 漢字"),
    # By a byte order mark, whatever is declared
    *((JSON.encode(codec), "iso-8859-1", JSON) for codec in ("utf-8-sig", "utf-16", "utf-32")),
    *((JSON.encode(codec), None, JSON) for codec in ("utf-8-sig", "utf-16", "utf-32")),
    (b"\xef\xbb\xbf" * 2 + JSON.encode(), None, JSON),
    (JSON.encode("utf-16"), "utf-16be", JSON),
    (f"\ufeff{KANJI}".encode("gb18030"), "gbk", KANJI),
    # JSON in no declared charset
    *((JSON.encode(codec), None, JSON) for codec in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "cp1252")),
    (b'{"name": "\x81"}', None, '{"name": "\x81"}'),
    # Declared, and not true
    (JSON.encode(), "iso-8859-1", JSON),
    (JSON.encode(), "utf-16", JSON),
    ("\x1b[31m10 €\x1b[0m".encode(), "iso-8859-1", "\x1b[31m10 €\x1b[0m"),
    ("10 €\0".encode(), "gbk", "10 €\0"),
    (JSON.encode("cp1252"), "utf-8", JSON),
    (JSON.encode("cp1252"), "us-ascii", JSON),
    (b"a", "no-such-charset", "a"),
    (b"\x00a", None, "\x00a"),
    # No text
    (b"\xff", None, None),
    (b"\x89PNG\r\n\x1a\n", None, None),
    (b"\x81", "shift_jis", None),
    (b"{\xff\x00", None, None),
    (b"", None, ""),
]


@pytest.mark.parametrize(("body", "charset", "text"), TEXTS)
def test_a_body_is_text_in_the_charset_that_it_is_in(body: bytes, charset: str | None, text: str | None) -> None:
    assert decode(body, charset) == text


@pytest.mark.parametrize(
    "charset",
    [
        *("idna", "punycode", "zip", "zlib_codec", "rot13", "hex", "base64", "unicode_escape", "raw_unicode_escape"),
        *("utf-7", "undefined", "mbcs", "\0", "../x", "x" * 100_000, "é", ""),
    ],
)
def test_a_codec_that_is_no_charset_is_not_used(charset: str) -> None:
    assert codec_of(charset) is None
    assert decode(b"cafe", charset) == "cafe"
    assert decode(b"\xff", charset) is None


@pytest.mark.parametrize(
    "header",
    [
        "text/plain; charset=utf-8",
        'text/plain;charset="utf-8"',
        "text/plain;charset=utf-8;",
        "text/plain; charset=utf-8; charset=latin1",
        "a/b; x=y; Charset = utf-8; z",
    ],
)
def test_a_parameter_is_found_in_a_header(header: str) -> None:
    assert parameter(header, "charset") == "utf-8"
    assert parameter(header, "boundary") is None
