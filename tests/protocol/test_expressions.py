from dataclasses import replace
from typing import Any

import pytest

from hookbot.errors import BodyTooLarge, ConfigError
from hookbot.protocol.bodies import UNTRUSTED, UNVERIFIED, Ceiling
from hookbot.protocol.envelope import encode_json
from hookbot.protocol.expressions import FIELDS, SHARED_BYTES, Expression, Template, TooManySteps, document
from hookbot.protocol.message import Message, Verified

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
LARGE = b'["%s"]' % (b"x" * SHARED_BYTES)
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
    assert document(message, {"topic"}) == {"topic": message.topic}


def test_a_small_body_is_parsed_once_for_all_who_read_it() -> None:
    first, copy, form, large = (
        document(message)["body"]
        for message in (PUSH, replace(PUSH, topic="copy"), replace(PUSH, headers=FORM), replace(PUSH, body=LARGE))
    )

    assert copy is first
    assert form is not first
    assert document(replace(PUSH, body=LARGE))["body"] is not large


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("body.ref", {"body"}),
        ("topic == 'x' && body", {"topic", "body"}),
        ("length(@)", set(FIELDS)),
        ("*.ref", set(FIELDS)),
        ("keys(@)", set(FIELDS)),
        ("[?ref]", set(FIELDS)),
        ("{a: topic, b: [body]}", {"topic", "body"}),
        ("topic", {"topic"}),
        ("headers.body", {"headers"}),
        ("sort_by(hops, &@)", {"hops"}),
        ("hops[?@ == 'body']", {"hops"}),
        ("`1`", set()),
    ],
)
def test_an_expression_knows_what_it_reads_of_a_message(text: str, fields: set[str]) -> None:
    assert Expression(text).fields == fields


def test_a_template_reads_what_its_expressions_do() -> None:
    assert Template("a/{topic}/{body.ref}").fields == {"topic", "body"}
    assert Template("body/topic").fields == set()


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


@pytest.mark.parametrize(
    "text",
    [
        *("length(body.n)", "floor(body.huge)", "ceil(body.long)"),
        *(
            "contains(body.s, body.n)",
            "max_by(body.mixed, &@)",
            "nobody(body)",
            "abs(body.s)",
            "to_string(sum(body.two))",
        ),
    ],
)
def test_what_an_expression_cannot_work_with_is_an_error_of_the_message(text: str) -> None:
    body = b'{"s": "1", "n": 1.5, "huge": 1e400, "long": 1%s, "mixed": [1, "a"], "two": [1e400]}' % (b"0" * 400)

    with pytest.raises(ValueError):  # noqa: PT011 -- the text is that of JMESPath or Python
        Expression(text).value(document(Message("t", body)))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("to_string(body.n)", "1.10"),
        ("to_string(body)", '{"n":1.10,"s":"12345678901234567890.25"}'),
        ("to_string(body.s)", "12345678901234567890.25"),
        ("to_string(to_number(body.s))", "12345678901234567890.25"),
        ("to_number('007')", 7),
        ("to_number('nan')", None),
        ("to_number('x')", None),
        ("to_number(body)", None),
        ("to_number(body.n)", 1.1),
    ],
)
def test_numbers_stay_as_they_were_written_when_they_become_text_or_were(text: str, value: Any) -> None:
    message = Message("t", b'{"n": 1.10, "s": "12345678901234567890.25"}')

    assert Expression(text).value(document(message)) == value


@pytest.mark.parametrize(
    ("body", "label", "text"),
    [
        (b'{"action": "opened"}', "application/x-www-form-urlencoded", "body.action == 'opened'"),
        (b'\xef\xbb\xbf{"action": "opened"}', "application/json", "body.action == 'opened'"),
        (b'{"name": "Jos\xe9"}', "application/json; charset=ISO-8859-1", "body.name == 'José'"),
        (b"mandrill_events=%5B%7B%22event%22:%22send%22%7D%5D", FORM[0][1], "body.mandrill_events[?event == 'send']"),
        (b"a=1&a=2", FORM[0][1], "body.a[1] == '2'"),
    ],
)
def test_an_expression_sees_into_a_body_whatever_its_sender_calls_it(body: bytes, label: str, text: str) -> None:
    assert Expression(text).holds(document(Message("t", body, (("Content-Type", label),))))


def test_a_template_is_filled_with_text_and_numbers() -> None:
    template = Template("deploy/{body.repository.full_name}/{body.repository.id}")
    assert template.fill(document(PUSH)) == "deploy/acme/app/7"
    assert Template("plain").fill(document(PUSH)) == "plain"
    assert Template("v/{body}").fill(document(Message("t", b"1.10"))) == "v/1.10"


@pytest.mark.parametrize("inner", ["body.missing", "body.commits", "body.repository", "`true`", '`""`'])
def test_a_place_that_would_get_anything_else_is_an_error_of_the_message(inner: str) -> None:
    with pytest.raises(ValueError, match="not a string or a number"):
        Template(f"a/{{{inner}}}").fill(document(PUSH))


@pytest.mark.parametrize("inner", ["abs(body)", "sum([body, body])", "`NaN`"])
def test_a_number_that_nobody_can_write_is_put_into_no_topic(inner: str) -> None:
    with pytest.raises(ValueError, match="not JSON"):
        Template(f"a/{{{inner}}}").fill(document(Message("t", b"-1e400")))


@pytest.mark.parametrize("text", ["a/{body.x", "a/body.x}", "a/{}", "a/{b{c}}", "a/{who}"])
def test_a_template_that_is_none_is_refused_at_once(text: str) -> None:
    with pytest.raises(ConfigError):
        Template(text)


# -- steps

STEPS = 10_000
SEEN = Message("a", encode_json({"text": "x" * 500, "many": [{"a": n} for n in range(1000)]}).encode(), id="x")


@pytest.mark.parametrize(
    "text",
    [
        "|".join(["[@,@][]"] * 60),
        "[@,@]" + "[][@,@]" * 60,
        "|".join(["[@,@]"] * 60) + "|to_string(@)",
        "|".join(["[@,@]"] * 60) + "|contains(@, `{}`)",
        "[{a}, {b}]|[0]==[1]".format(a="|".join(["(topic)", *["[@,@]"] * 30]), b="|".join(["(id)", *["[@,@]"] * 30])),
        "join('', [body.text, body.text])" + "|join('', [@,@])" * 25,
        "body.text|" + "join(@, ['', '', '', '', '', '', '', ''])|" * 10 + "@",
        "body.many[*].[@,@,@,@,@,@,@,@][][[@,@,@,@,@,@,@,@]][]|[::-1]",
        "body.many[?contains(to_string(@), 'x')].to_string(@)|sort(@)|[]|[@,@,@,@][]|sort(@)",
    ],
)
def test_an_expression_that_multiplies_what_it_reads_ends_early(text: str) -> None:
    seen = document(SEEN)
    expression = Expression(text)

    with pytest.raises(TooManySteps, match="takes too many steps"):
        expression.value(seen, steps=STEPS)


@pytest.mark.parametrize(
    "text",
    [
        "body.many[?a > `990`].a",
        "body.many[].a | [::-100]",
        "[topic, body.many[0]] == ['a', {a: `0`}]",
        "[[topic, id], [id]][]",
        "contains(body.text, 'xx') && topic == 'a'",
        "join(', ', keys(body))",
        "body.many[1:3] | to_string(@)",
        "topic[]",
        "topic[1:]",
        "sort_by(body.many, &a)[-1]",
    ],
)
def test_an_expression_within_its_steps_has_the_same_value(text: str) -> None:
    seen = document(SEEN)
    expression = Expression(text)

    assert expression.value(seen, steps=STEPS) == expression.value(seen)


def test_an_expression_that_is_nested_too_deeply_is_refused() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        Expression("(" * 5000 + "@" + ")" * 5000)
    seen, expressions = document(SEEN), (Expression("!" * depth + "@") for depth in range(10, 1000, 10))
    with pytest.raises(ValueError, match="nested too deeply"):
        [expression.value(seen, steps=STEPS) for expression in expressions]


def test_the_ceiling_for_a_body_may_be_lower() -> None:
    assert document(PUSH, ["body"], ceiling=UNVERIFIED) == {"body": PUSH.json()}
    with pytest.raises(BodyTooLarge):
        document(PUSH, ["body"], ceiling=Ceiling(json_bytes=50, form_bytes=50, values=10, fields=10))
