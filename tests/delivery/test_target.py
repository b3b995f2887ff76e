"""Targets, as people name them."""

import pytest

from hookbot.delivery.target import Target
from hookbot.errors import Refused
from hookbot.protocol.message import Message


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://a.example/x?y=1", "http://a.example/x"),
        ("https://user:secret@a.example:81", "https://a.example:81/"),
        ("unix:/run/app.sock", "unix:/run/app.sock:/"),
        ("unix:/run/app.sock:/hook/x?y=1", "unix:/run/app.sock:/hook/x"),
        ("unix:/run/app.sock:", "unix:/run/app.sock:/"),
        ("UNIX:/run/app.sock:?y=1", "unix:/run/app.sock:/"),
        ("unix:///run/a:b.sock:/x:/y", "unix:///run/a:b.sock:/x:/y"),
        ("HTTP://A.example/X", "http://a.example/X"),
        ("Https://a.example", "https://a.example/"),
        (" http://a.example/\n", "http://a.example/"),
        ("\ufeffhttp://a.example/", "http://a.example/"),
        ("“localhost:3000/x”", "http://localhost:3000/x"),
        ("'unix:/run/app.sock'", "unix:/run/app.sock:/"),
        ("http://user:p@ss:secret@a.example/#part", "http://a.example/"),
        ("http://bücher.example/größe", "http://xn--bcher-kva.example/gr%C3%B6%C3%9Fe"),
        ("http://[::1]:3000/x", "http://[::1]:3000/x"),
        ("localhost:3000", "http://localhost:3000/"),
        ("127.0.0.1:3000/path?secret", "http://127.0.0.1:3000/path"),
        ("[::1]:3000", "http://[::1]:3000/"),
        ("example.com/hook?back=http://b/", "http://example.com/hook"),
        ("user:secret@example.com/hook", "http://example.com/hook"),
        ("example.com", "http://example.com/"),
        ("10.1.2.3", "http://10.1.2.3/"),
        ("3000", "http://localhost:3000/"),
        (":3000/path", "http://localhost:3000/path"),
        ("3000?secret", "http://localhost:3000/"),
    ],
)
def test_a_target_is_shown_without_secrets(text: str, shown: str) -> None:
    assert str(Target.parse(text)) == shown
    assert "secret" not in repr(Target.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "ftp://a.example/",
            "ws://a.example/",
            "http:/a.example",
            "http://",
            "http:///path",
            "",
            " ",
            "/path",
            "//a/",
        ),
        *(
            "http://a:0/",
            "a:0",
            "0",
            "http://a:65536/",
            "70000",
            "http://a:-1/",
            "http://a:x/",
            "a:b:80",
            "http://a b/",
        ),
        *("http://256.1.1.1/", "http://[::1", "http://[::z]/", "http://a..b/"),
        *("unix:", "unix: ", "unix::/path", "unix:app.sock", "unix:./app.sock:/path", "unix:~/app.sock"),
    ],
)
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        Target.parse(text)


@pytest.mark.parametrize(
    ("url", "query", "asked"),
    [
        ("http://a/hook", "", b"/hook"),
        ("http://a/hook?own=1", "", b"/hook?own=1"),
        ("http://a/hook", "a=%5b&b=[x]&a=&c", b"/hook?a=%5b&b=[x]&a=&c"),
        ("http://a/hook?own=1", "a=1", b"/hook?own=1&a=1"),
        ("http://a/h%C3%A4/%2f", "", b"/h%C3%A4/%2f"),
        ("http://a/x?q=größe", "", b"/x?q=gr%C3%B6%C3%9Fe"),
        ("http://a/x?q=%c3%b6%20+%zz%", "", b"/x?q=%c3%b6%20+%25zz%25"),
        ('http://a/x y|{}?q=a b|"{}<>\\^`[]', "", b"/x%20y%7C%7B%7D?q=a%20b%7C%22%7B%7D%3C%3E%5C%5E%60%5B%5D"),
        ("http://a/x?q=/?:@!$&'()*,;=~-._", "", b"/x?q=/?:@!$&'()*,;=~-._"),
        ("http://a/x?q=\udcff#part", "", b"/x?q=%FF"),
        ("http://a?q", "", b"/?q"),
        ("unix:/run/app.sock:/x?q=ü", "", b"/x?q=%C3%BC"),
        ("http://a/x", "q=ü \udcff\r\n|", b"/x?q=%C3%BC%20%FF%0D%0A|"),
        ("http://a/x", "extra-metadata=github", b"/x"),
        ("http://a/x?own=1", "a=1&extra-metadata=github&b=2", b"/x?own=1&a=1&b=2"),
    ],
)
def test_the_query_of_the_message_stands_behind_that_of_the_target_byte_by_byte(
    url: str, query: str, asked: bytes
) -> None:
    assert Target.parse(url).request_target(Message("t", query=query)) == asked
