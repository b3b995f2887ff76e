"""Logging of the process, and the secrets that it never logs."""

import json
import logging
import threading
from base64 import b64encode
from typing import Literal
from urllib.parse import urlsplit

import pytest
import trio

from hookbot.access.audit import audit
from hookbot.access.tokens import make_token
from hookbot.hub.logging_setup import MAX_CHARACTERS, JsonFormatter, TextFormatter, logging_to_stderr
from hookbot.hub.repeats import BURST
from hookbot.protocol.request import Request
from hookbot.testing import KEY, open_test_hub
from hookbot.web.access_log import log_request
from support import GUARD_S
from support.commands import kept_logging


def record(message: str, error: ValueError | None = None) -> logging.LogRecord:
    exc_info = (type(error), error, None) if error else None
    return logging.LogRecord("hookbot.x", logging.ERROR, __file__, 1, message, (), exc_info)


def test_what_a_client_sent_cannot_look_like_a_line_of_its_own() -> None:
    text = TextFormatter("%(levelname)s %(message)s").format(record("bad", ValueError("x\nERROR forged")))
    assert not any(line.startswith("ERROR forged") for line in text.splitlines())
    assert "    ERROR forged" in text


@pytest.mark.parametrize("character", ["\r", "\x1b", "\0", "\x85", "\u2028", "\u202e", "\u2066"])
def test_no_character_that_a_client_sent_controls_a_terminal_or_the_direction_of_text(character: str) -> None:
    text = TextFormatter("%(message)s").format(record(f"a{character}b", ValueError(f"c{character}d")))

    assert character not in text
    escaped = character.encode("unicode_escape").decode()
    assert text.startswith(f"a{escaped}b\n")
    assert text.endswith(f"c{escaped}d")


def test_what_people_write_is_not_escaped() -> None:
    assert TextFormatter("%(message)s").format(record("é 漢字 🎉\ttab")) == "é 漢字 🎉\ttab"


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_the_middle_of_what_is_very_long_is_left_out(formatter: logging.Formatter) -> None:
    text = formatter.format(record("m" * 10**6, ValueError("e" * 10**6)))

    assert 2 * MAX_CHARACTERS < len(text) < 3 * MAX_CHARACTERS
    assert f"m [{10**6 - MAX_CHARACTERS} characters left out] m" in text
    assert " characters left out] e" in text


def test_a_text_that_takes_long_to_make_holds_up_no_other_record(capfd: pytest.CaptureFixture[str]) -> None:
    making, gone_on = threading.Event(), threading.Event()

    class Slow:
        def __str__(self) -> str:
            making.set()
            gone_on.wait(GUARD_S)
            return "slow"

    with kept_logging(), logging_to_stderr("text", "info"):
        slowly = threading.Thread(target=logging.getLogger("hookbot.x").warning, args=["%s", Slow()])
        slowly.start()
        making.wait(GUARD_S)
        logging.getLogger("hookbot.x").warning("quick")
        gone_on.set()
        slowly.join()

    assert [line.split()[-1] for line in capfd.readouterr().err.splitlines()] == ["quick", "slow"]


def test_a_record_is_one_line_of_json() -> None:
    [line] = JsonFormatter().format(record("bad\nthing", ValueError("x\ny"))).splitlines()
    fields = json.loads(line)
    assert (fields["level"], fields["logger"], fields["message"]) == ("error", "hookbot.x", "bad\nthing")
    assert fields["exception"].endswith("ValueError: x\ny")


def with_fields(**fields: object) -> logging.LogRecord:
    """A record as `logging` makes it with ``extra=fields``."""
    return logging.getLogger("hookbot.x").makeRecord(
        "hookbot.x", logging.INFO, __file__, 1, "refused", (), None, extra=fields
    )


def test_fields_follow_the_sentence_and_one_sees_where_each_of_them_ends() -> None:
    given = with_fields(
        topic="a/b", client="2001:db8::1", status=401, reason='no "x" = y', absent=None, empty="", on=True
    )

    text = TextFormatter("%(message)s").format(given)

    assert text == r'refused topic=a/b client=2001:db8::1 status=401 reason="no \"x\" = y" on=true'


def test_a_line_that_stands_for_others_says_so_before_its_fields() -> None:
    given = with_fields(status=401, more=3)
    assert TextFormatter("%(message)s").format(given) == "refused (and 3 more like it) status=401"


@pytest.mark.parametrize("character", ["\n", "\r", "\t", "\x1b", "\x85", "\u2028", "\u202e", " ", '"', "="])
def test_no_character_of_a_field_ends_it_or_its_line(character: str) -> None:
    text = TextFormatter("%(message)s").format(with_fields(topic=f"a{character}status=200"))

    assert len(text.splitlines()) == 1
    assert text.startswith('refused topic="a')
    assert text.endswith('status=200"')
    assert json.loads(JsonFormatter().format(with_fields(topic=f"a{character}b")))["topic"] == f"a{character}b"


@pytest.mark.parametrize("formatter", [TextFormatter("%(message)s"), JsonFormatter()])
def test_a_field_is_bounded(formatter: logging.Formatter) -> None:
    text = formatter.format(with_fields(topic="t" * 10**6))
    assert MAX_CHARACTERS < len(text) < 2 * MAX_CHARACTERS


def test_fields_are_members_of_the_object_and_replace_none_of_its_own() -> None:
    fields = json.loads(JsonFormatter().format(with_fields(topic="a", status=401, absent=None, level="forged")))
    assert list(fields) == ["time", "level", "logger", "message", "topic", "status"]
    assert (fields["level"], fields["status"]) == ("info", 401)


def say(form: Literal["text", "json"], level: str, capfd: pytest.CaptureFixture[str], times: int = 1) -> list[str]:
    """The lines on standard error, after hookbot and a library have logged something on each level."""
    with kept_logging(), logging_to_stderr(form, level):
        for name in ("hookbot.x", "somebody.else"):
            for number in (logging.DEBUG, logging.INFO, logging.WARNING):
                for _ in range(times):
                    logging.getLogger(name).log(number, "%s said", name)
    said = capfd.readouterr()
    assert said.out == ""
    return said.err.splitlines()


def test_the_log_is_text_on_standard_error_and_others_only_say_what_is_wrong(
    capfd: pytest.CaptureFixture[str],
) -> None:
    lines = say("text", "info", capfd)
    assert [line.split()[2:] for line in lines] == [
        ["INFO", "hookbot.x:", "hookbot.x", "said"],
        ["WARNING", "hookbot.x:", "hookbot.x", "said"],
        ["WARNING", "somebody.else:", "somebody.else", "said"],
    ]


def test_the_log_is_json_on_request_from_any_level_on(capfd: pytest.CaptureFixture[str]) -> None:
    fields = [json.loads(line) for line in say("json", "debug", capfd)]
    assert [(each["level"], each["message"]) for each in fields] == [
        ("debug", "hookbot.x said"),
        ("info", "hookbot.x said"),
        ("warning", "hookbot.x said"),
        ("warning", "somebody.else said"),
    ]
    assert fields[0]["time"].endswith("+00:00")


def test_repeats_are_counted_in_the_last_line(capfd: pytest.CaptureFixture[str]) -> None:
    text = say("text", "warning", capfd, times=20)
    fields = [json.loads(line) for line in say("json", "warning", capfd, times=20)]

    assert len(text) == len(fields) == 2 * (BURST + 1)
    assert [line for line in text if line.endswith("said (and 9 more like it)")] == text[-2:]
    assert [each.get("more") for each in fields] == [None] * 2 * BURST + [9, 9]


def test_what_operators_do_is_written_whatever_the_level_and_however_often(capfd: pytest.CaptureFixture[str]) -> None:
    with kept_logging(), logging_to_stderr("text", "error"):
        for _ in range(2 * BURST):
            audit("a cursor was moved", by="ann")

    lines = capfd.readouterr().err.splitlines()
    assert [line.partition(" INFO    ")[2] for line in lines] == [
        "hookbot.audit: a cursor was moved by=ann"
    ] * 2 * BURST


@pytest.mark.parametrize(("asked", "number"), [(False, 0), (True, 2 * BURST)])
def test_an_access_log_is_written_on_request_whatever_the_level(
    capfd: pytest.CaptureFixture[str], asked: bool, number: int
) -> None:
    with kept_logging(), logging_to_stderr("text", "error", access_log=asked):
        for _ in range(2 * BURST):
            log_request(Request("GET", b"/sub/a", ()), 200, 3, None)

    assert capfd.readouterr().err.count("answered method=GET path=/sub/a topic=a status=200 bytes=3") == number


def test_a_record_whose_arguments_do_not_fit_its_template_does_not_fail_the_caller(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with kept_logging(), logging_to_stderr("text", "info"):
        for _ in range(2):
            logging.getLogger("hookbot.x").warning("%d", "no number")

    assert capfd.readouterr().err.count("--- Logging error ---") == 2


def requests(token: str) -> list[str]:
    """A token, shown in every way, and in some where it should not be."""
    basic = b64encode(f"{token}:".encode()).decode()
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    upgrade += "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    host = "Host: hub\r\n"
    length = "Content-Length: 4\r\n"
    return [
        f"POST /pub/x HTTP/1.1\r\n{host}Authorization: Basic {basic}\r\n{length}\r\nbody",
        f"POST /pub/x HTTP/1.1\r\n{host}Authorization: Bearer {token}\r\n{length}\r\nbody",
        f"POST /pub/x?token={token} HTTP/1.1\r\n{host}{length}\r\nbody",
        f"POST /unsafe/pub/x?token={token} HTTP/1.1\r\n{host}{length}\r\nbody",
        f"GET /sub/x?token={token}&since=all&follow=0 HTTP/1.1\r\n{host}\r\n",
        f"GET /sub/x?token={token}&since=nonsense HTTP/1.1\r\n{host}Accept: text/event-stream\r\n\r\n",
        f"GET /sub/x?token={token} HTTP/1.1\r\n{host}Accept: text/event-stream\r\n\r\n",
        f"GET /sub/x HTTP/1.1\r\n{host}{upgrade}Sec-WebSocket-Protocol: hookbot.token.{token}\r\n\r\n",
        f"GET /sub/x HTTP/1.1\r\n{host}{upgrade}Authorization: Basic {basic}\r\n\r\nnonsense" + "x" * 99,
        f"GET /sub/x?limit=1&token={token} HTTP/1.1\r\n{host}{upgrade}\r\n",
        f"GET /status?token={token} HTTP/1.1\r\n{host}\r\n",
        f"GET /sub/x?token={token}\r\n\r\n",
        f"GET /sub/x HTTP/1.1\r\n{host}Authorization Basic {basic}\r\n\r\n",
        f"BREW /sub/x?token={token} HTTP/1.1\r\n{host}\r\n",
    ]


async def send(url: str, request: str) -> None:
    """Send a request, and wait for an answer."""
    address = urlsplit(url)
    assert address.hostname
    assert address.port
    stream = await trio.open_tcp_stream(address.hostname, address.port)
    async with stream:
        await stream.send_all(request.encode())
        with trio.fail_after(GUARD_S):
            await stream.receive_some()


async def test_a_token_is_in_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hookbot")
    caplog.set_level(logging.DEBUG, "hookbot.access_log")
    async with open_test_hub() as hub:
        tokens = [make_token(KEY, "/"), "0123456789abcdef0123456789abcdef01234567"]
        for token in tokens:
            for request in requests(token):
                await send(hub.url, request)

    formatter = TextFormatter("%(name)s %(message)s")
    said = "\n".join(formatter.format(record) for record in caplog.records)
    assert "hookbot.access refused: " in said
    assert "hookbot.access_log answered method=" in said
    for token in tokens:
        assert token not in said
        assert b64encode(f"{token}:".encode()).decode() not in said
