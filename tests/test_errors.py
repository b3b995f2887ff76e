"""The tree of errors, as it is drawn and as it is."""

import errno
import inspect
import os
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from hookbot import errors
from hookbot.errors import (
    BodyTooLarge,
    Ended,
    HookbotError,
    Lost,
    MethodNotAllowed,
    Refused,
    TooManyRequests,
    Unauthorized,
    describe,
    did_you_mean,
    first_error,
    kind_of,
    sole_error,
    system_reason,
)
from hookbot.protocol.json_text import read_json

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if cls.__module__ == errors.__name__]
DRAWN = [
    (len(indent) // 4, name, rest.split()[-1] if rest.split() else "")
    for indent, name, rest in re.findall(r"^ {4}([│├└─ ]*)(\w+)(.*)$", errors.__doc__, re.MULTILINE)
]


def test_every_error_is_drawn_in_the_tree_once() -> None:
    assert sorted(name for _, name, _ in DRAWN) == sorted(cls.__name__ for cls in CLASSES)


def test_the_tree_is_drawn_as_it_is() -> None:
    path: list[str] = []
    for depth, name, _ in DRAWN:
        path[depth:] = [name]
        bases = [cls.__name__ for cls in getattr(errors, name).__mro__ if issubclass(cls, HookbotError)]
        assert bases == path[::-1]


@pytest.mark.parametrize(("name", "status"), [(name, status) for _, name, status in DRAWN if len(status) == 3])
def test_an_error_has_the_status_that_is_drawn_beside_it(name: str, status: str) -> None:
    assert getattr(errors, name).status == int(status)


@pytest.mark.parametrize("cls", CLASSES)
def test_whose_fault_it_is_shows_in_the_status(cls: type[HookbotError]) -> None:
    assert issubclass(cls, Refused) == (400 <= cls.status < 500)


def test_what_was_probably_meant_is_suggested() -> None:
    assert did_you_mean("alow_from", ["allow_from", "topic"]) == "did you mean 'allow_from'?"
    assert did_you_mean("colour", ["allow_from", "topic"]) == ""


def test_an_error_carries_what_its_response_needs() -> None:
    assert str(Unauthorized()) == "401 Unauthorized"
    assert MethodNotAllowed("no", allow="GET").allow == "GET"
    assert str(BodyTooLarge.than(5)) == "the body is larger than 5 bytes"
    assert TooManyRequests("later", retry_after_s=3).retry_after_s == 3
    assert Lost("gone", retry_after_s=0.5).retry_after_s == 0.5
    assert Ended(4001, "moved").code == 4001


def test_a_single_error_is_taken_out_of_its_groups_and_several_stay_together() -> None:
    error, several = ValueError("one"), ExceptionGroup("", [ValueError("one"), KeyError("two")])
    assert sole_error(ExceptionGroup("", [ExceptionGroup("", [error])])) is error
    assert sole_error(ExceptionGroup("", [several])) is several
    assert sole_error(error) is error


def test_the_first_error_is_taken_out_of_groups_of_any_size() -> None:
    first = ValueError("one")
    assert first_error(ExceptionGroup("", [ExceptionGroup("", [first, KeyError("two")])])) is first
    assert first_error(first) is first


def test_kinds_have_names_that_people_know() -> None:
    values: list[Any] = ["", 1, 1.5, True, [], (), {}, None]

    assert [kind_of(value) for value in values] == [
        *("a string", "an integer", "a number", "true or false", "a list", "a list", "a table", "nothing")
    ]
    assert [kind_of(read_json(text)) for text in ("1.5", '{"a": 1, "a": 2}')] == ["a number", "a table"]


def test_the_reason_of_a_failure_has_no_number_and_no_path(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nonsense")
    with pytest.raises(FileNotFoundError) as missing:
        (tmp_path / "missing").read_text()
    with pytest.raises(ssl.SSLError) as not_pem:
        ssl.create_default_context().load_cert_chain(tmp_path / "no.pem")
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="bind") as busy:
        socket.create_server(taken.getsockname())

    assert system_reason(missing.value) == os.strerror(errno.ENOENT)
    assert system_reason(not_pem.value) == "PEM lib"
    assert system_reason(ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed (EOF) (_ssl.c:1006)")) == (
        "TLS/SSL connection has been closed (EOF)"
    )
    assert system_reason(busy.value) == os.strerror(errno.EADDRINUSE)
    assert system_reason(socket.gaierror(-2, "Name or service not known")) == "Name or service not known"
    assert system_reason(ValueError("port must be 0-65535")) == "port must be 0-65535"


def test_an_error_whose_text_cannot_be_shown_is_described_all_the_same() -> None:
    class Quiet(Exception):
        def __str__(self) -> str:
            raise SystemExit

    assert describe(Quiet()) == "Quiet: (its text cannot be shown)"
    assert describe(ExceptionGroup("one", [ValueError("a\nb")])) == "ValueError: a b"
    assert describe(KeyboardInterrupt()) == "KeyboardInterrupt"
