from typing import Any

import pytest

from hookbot.errors import BodyTooLarge, ConfigError
from hookbot.protocol.bodies import UNTRUSTED
from hookbot.protocol.message import Message, Verified
from hookbot.routers.expressions import Expression, Template, document, parse_body

PUSH = Message(
    "github.com/repo/acme/app",
    b'{"ref": "refs/heads/main", "repository": {"full_name": "acme/app", "id": 7}, "commits": [{"author": "ann"}]}',
    (("Content-Type", "application/json"), ("X-GitHub-Event", "push"), ("X-GitHub-Event", "second")),
    "extra-metadata=github",
    Verified("github", "0", source="/unsafe/github.com/"),
    ("github",),
    id="abcdefgh-000000000000001",
)


def test_a_message_looks_like_its_envelope_with_its_body_read() -> None:
    assert document(PUSH) == {
        "id": "abcdefgh-000000000000001",
        "topic": "github.com/repo/acme/app",
        "time": "1970-01-01T00:00:00.000000Z",
        "headers": {"content-type": "application/json", "x-github-event": "push"},
        "query": {"extra-metadata": "github"},
        "body": PUSH.json(),
        "verified": {"provider": "github", "key": "0", "source": "/unsafe/github.com/"},
        "hops": ["github"],
    }


FORM = (("Content-Type", "application/x-www-form-urlencoded"),)
BODIES = [
    (Message("t", b'{"a": 1}'), {"a": 1}),
    (Message("t", b"a=1&b=%20", FORM), {"a": "1", "b": " "}),
    (Message("t", b"payload=%7B%22a%22%3A1%7D", FORM), {"a": 1}),
    (Message("t", b"payload=text", FORM), "text"),
    (Message("t", b'{"a": "&payload=%7B%22a%22%3A1%7D"}', FORM), {"a": "&payload=%7B%22a%22%3A1%7D"}),
    (Message("t", b"plain"), "plain"),
    (Message("t", b"[" * 100_000), "[" * 100_000),
    (Message("t", b""), ""),
    (Message("t", b"\xff"), None),
]


@pytest.mark.parametrize(("message", "body"), BODIES)
def test_a_body_is_what_it_says(message: Message, body: dict[str, Any] | str | None) -> None:
    assert parse_body(message) == body


MANY = b"[" + b"0," * UNTRUSTED.values + b"0]"


@pytest.mark.parametrize(
    ("message", "read"),
    [
        (Message("/unsafe/t", MANY), False),
        (Message("/unsafe/t", b"&" * UNTRUSTED.fields, FORM), False),
        (Message("/unsafe/t", b"payload=" + MANY, FORM), False),
        (Message("/unsafe/t", MANY, verified=Verified("github", "0")), True),
        (Message("t", MANY), True),
    ],
)
def test_more_of_a_body_is_read_if_its_sender_is_known(message: Message, read: bool) -> None:
    if read:
        assert len(document(message)["body"]) == UNTRUSTED.values + 1
    else:
        with pytest.raises(BodyTooLarge):
            document(message)
    assert document(message, body=False)["body"] is None


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        ("body.ref", True),
        ("topic == 'x' && body", True),
        ("length(@)", True),
        ("*.ref", True),
        ("keys(@)", True),
        ("[?ref]", True),
        ("{a: topic, b: [body]}", True),
        ("topic", False),
        ("headers.body", False),
        ("sort_by(hops, &@)", False),
        ("hops[?@ == 'body']", False),
        ("`1`", False),
    ],
)
def test_an_expression_knows_if_it_reads_the_body(text: str, reads: bool) -> None:
    assert Expression(text).reads_body == reads


def test_a_template_reads_the_body_if_one_of_its_expressions_does() -> None:
    assert Template("a/{topic}/{body.ref}").reads_body
    assert not Template("body/{topic}").reads_body


CONDITIONS = [
    ("body.ref == 'refs/heads/main'", True),
    ("body.ref == 'refs/heads/next'", False),
    ("headers.\"x-github-event\" == 'push' && verified", True),
    ("starts_with(topic, 'github.com/') && !(body.missing)", True),
    ("body.commits[?author == 'ann']", True),
    ("body.commits[?author == 'bob']", False),
    ("length(body.commits) > `0`", True),
    ("sort_by(body.commits, &author)[0].author == 'ann'", True),
    ("body.missing", False),
    ("body.repository.id", True),
    ("`0`", True),
    ('`""`', False),
    ("`{}`", False),
]


@pytest.mark.parametrize(("text", "holds"), CONDITIONS)
def test_a_condition_holds_or_does_not(text: str, holds: bool) -> None:
    assert Expression(text).holds(document(PUSH)) is holds


MISTAKES = [
    ("body.", "not a JMESPath expression"),
    ("", "not a JMESPath expression"),
    ('body.action == "opened"', "a message has no 'opened'.*strings are in single quotes"),
    ("action == 'opened'", "a message has no 'action'.*begins with one of id, topic, time, headers"),
    ("{a: body.x, b: bdy.y}", "a message has no 'bdy'"),
]


@pytest.mark.parametrize(("text", "error"), MISTAKES)
def test_an_expression_that_cannot_mean_anything_is_refused_at_once(text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        Expression(text)


def test_what_an_expression_cannot_work_with_is_an_error_of_the_message() -> None:
    with pytest.raises(ValueError, match="length"):
        Expression("length(body.repository.id)").value(document(PUSH))


def test_a_template_is_filled_with_text_and_numbers() -> None:
    template = Template("deploy/{body.repository.full_name}/{body.repository.id}")
    assert template.fill(document(PUSH)) == "deploy/acme/app/7"
    assert Template("plain").fill(document(PUSH)) == "plain"


@pytest.mark.parametrize("inner", ["body.missing", "body.commits", "body.repository", "`true`", '`""`'])
def test_a_place_that_would_get_anything_else_is_an_error_of_the_message(inner: str) -> None:
    with pytest.raises(ValueError, match="not a string or a number"):
        Template(f"a/{{{inner}}}").fill(document(PUSH))


@pytest.mark.parametrize("text", ["a/{body.x", "a/body.x}", "a/{}", "a/{b{c}}", "a/{who}"])
def test_a_template_that_is_none_is_refused_at_once(text: str) -> None:
    with pytest.raises(ConfigError):
        Template(text)
