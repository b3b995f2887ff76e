"""Signed texts: what they are made of, and that they can be divided in one way only."""

import re
from itertools import product

import pytest

from hookbot.errors import BadSignature, ConfigError
from hookbot.signatures import SignedRequest, load_provider
from hookbot.signatures.templates import Template, read_template

URL = b"https://hub.example/a"


def test_a_template_has_parts_and_text_between_them() -> None:
    template = Template("v0:{timestamp}:{body}!")

    assert template.parts == ("timestamp", "body")
    assert template.fill([b"1700000000", b"{}"]) == b"v0:1700000000:{}!"
    assert read_template("{body}") is read_template("{body}")


FEW = [*map(bytes, product(b"1a.{", repeat=1)), *map(bytes, product(b"1a.{", repeat=2))]
LONG = [b"1700000000", b"1700000000.a", b"{1700000001", b"a1700000000"]
VALUES = {
    "id": [*FEW, b"1700000000", b"a1700000000"],
    # In a window of some minutes, all have the same length.
    "timestamp": [b"1700000000", b"1700000001"],
    "body": [
        b"",
        *FEW,
        *map(bytes, product(b"1a.{", repeat=3)),
        b"1700000000",
        b"1700000000.a",
        b"{1700000001",
        b"a1700000000",
    ],
    "payload": [b"", *FEW],
    "url": [URL, *(URL + few for few in FEW), b"https://[::1]:8/a", URL + b"https://hub.example/a"],
    "method": [b"POST", b"POSTh", b"P", b"PO"],
}
TEMPLATES = [
    "{timestamp}{body}",
    "{timestamp}.{body}",
    "{id}.{timestamp}.{body}",
    "{id}{timestamp}{body}",
    "{id}{body}",
    "{id}..{body}",
    "{id}1a{body}",
    "{id}aa{body}",
    "{body}aa{id}",
    "{body}{id}",
    "{body}.{id}",
    "{body}a1{id}",
    "{body}{timestamp}",
    "{body}.{timestamp}.{id}",
    "{timestamp}{id}",
    "{id}{timestamp}",
    "{id}.{timestamp}{payload}",
    "{url}{body}",
    "{body}{url}",
    "{url}.{body}",
    "{url}a1{body}",
    "{url}|{body}",
    "{url}{body}{timestamp}",
    "{url}{timestamp}{body}",
    "{url}{body}{id}",
    "{method}{url}{body}{timestamp}",
    "{method} {url} {timestamp} {body}",
    "{method}{body}",
    "{method}{url}",
]


@pytest.mark.parametrize("text", TEMPLATES)
def test_no_two_requests_have_the_same_text(text: str) -> None:
    template = Template(text)
    made: dict[bytes, tuple[bytes, ...]] = {}
    for values in product(*(VALUES[part] for part in template.parts)):
        try:
            filled = template.fill(values)
        except BadSignature:
            continue
        assert made.setdefault(filled, values) == values
    assert made


USUAL = [
    ("{timestamp}.{body}", [b"1700000000", b"1.2.3"]),
    ("{id}.{timestamp}.{body}", [b"msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", b"1700000000", b'{"a":1}']),
    ("{id}{timestamp}{body}", [b"e76c6bd4-55c9-4987-8304-da1588d8988b", b"2019-11-16T10:11:12.634234626Z", b"{}"]),
    ("{id}{timestamp}{body}", [b"UpUvcPhcUbKNgS29AKgAyIGzyt1G3vKbqWchxcqxBvE=", b"2023-11-14T22:13:20Z", b'{"a":1}']),
    ("{url}{body}", [b"https://hooks.example.com/unsafe/pub/square?a=b%20c", b'{"merchant_id":"x"}']),
    ("{url}{body}", [b"https://[2001:db8::1]:8443/in", b'[{"eventId":1}]']),
    ("{method}{url}{body}{timestamp}", [b"POST", b"https://h/?a=b", b"[1]", b"1700000000000"]),
    ("{method}{url}{body}{timestamp}", [b"GET", b"https://h/?a=b", b"", b"1700000000000"]),
    ("{body}{url}", [b'{"action":{}}', b"https://hooks.example.com/trello"]),
    ("{url}{form}", [b"https://h/?a=b", b"AccountSidAC1BodyHello"]),
    ("{method}\n{url}\n{timestamp}\n{body}", [b"PUT", b"https://h/x", b"1700000000", b"a=1\nb=2"]),
]


@pytest.mark.parametrize(("text", "values"), USUAL)
def test_what_senders_send_is_accepted(text: str, values: list[bytes]) -> None:
    assert Template(text).fill(values)


MOVED = [
    ("{id}.{timestamp}.{body}", [b"msg.1700000000", b"1700000000", b"{}"], "the id contains '.'"),
    (
        "{id}{timestamp}{body}",
        [b'a2023-11-14T22:13:20Z{"at":"', b"2023-11-14T22:13:20Z", b'"}'],
        "the id has a character",
    ),
    ("{url}{body}", [b'https://h/x{"a":', b"{}}"], "the url has a character"),
    ("{url}{body}", [b"https://h/x", b"y{}"], "the url could end elsewhere: the body next to it continues it"),
    ("{url}{body}", [b"https://h/\xc3\xbc", b"{}"], "the url has a character"),
    ("{body}{url}", [b"{}https", b"://h/x"], "the url could end elsewhere"),
    ("{id}{form}", [b"a", b"b1"], "the id could end elsewhere: the form next to it continues it"),
    ("{method}{body}", [b"PO", b"ST{}"], "the method could end elsewhere"),
    ("{method} {body}", [b"post", b"{}"], "the method has a character"),
]


@pytest.mark.parametrize(("text", "values", "reason"), MOVED)
def test_what_could_be_cut_elsewhere_is_refused(text: str, values: list[bytes], reason: str) -> None:
    with pytest.raises(BadSignature, match=re.escape(reason)):
        Template(text).fill(values)


@pytest.mark.parametrize("template", ["{id}{url}", "{url}{id}{body}", "{url}{method}", "{id}{timestamp}{url}"])
def test_a_template_that_could_always_be_cut_elsewhere_is_a_mistake_in_the_configuration(template: str) -> None:
    places = {part: f"X-{part}" for part in ("id", "timestamp") if f"{{{part}}}" in template}
    with pytest.raises(ConfigError, match="could end elsewhere"):
        load_provider("hmac", {"template": template, **places})


@pytest.mark.parametrize("name", ["square", "hubspot"])
def test_the_beginning_of_a_body_cannot_become_the_end_of_the_url(name: str) -> None:
    provider, now = load_provider(name), 1_700_000_000
    secret = "the secret of the tests"
    url = "https://hub.example/unsafe/pub/x/"
    signed = provider.sign(SignedRequest(b'{"a":"b{}"}', url=url), secret, now=now)

    assert provider.verify(signed, [secret], now=now).key == 0
    for moved, body in ((f'{url}{{"a":"b', b'{}"}'), (url[:-1], b'/{"a":"b{}"}')):
        with pytest.raises(BadSignature, match="the url"):
            provider.verify(SignedRequest(body, signed.headers, url=moved), [secret], now=now)
