"""JMESPath over messages: conditions, new bodies, and topics with places to fill in.

A message looks like its envelope, but for three things: `body` is what the body says (JSON, a form) where it says
anything, `headers` are an object with names in lower case, and `query` is an object, too.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import jmespath
from jmespath.exceptions import JMESPathError

from ..errors import ConfigError
from ..protocol.message import Message, format_time

FIELDS = ("id", "topic", "time", "headers", "query", "body", "verified", "hops")
"""Names that an expression may begin with."""

_FORM = "application/x-www-form-urlencoded"
_PLACE = re.compile(r"\{([^{}]*)\}")
_FALSE: tuple[Any, ...] = ("", [], {})
_ONE_SCOPE = {
    "comparator",
    "and_expression",
    "or_expression",
    "not_expression",
    "function_expression",
    "multi_select_list",
    "multi_select_dict",
    "key_val_pair",
}
"""Kinds of nodes all of whose children look at the same thing; of any other, only the first does."""


class Expression:
    """A JMESPath expression over a message. Raises `ConfigError` for what is none, or begins with an unknown field."""

    def __init__(self, text: str) -> None:
        try:
            self._compiled = jmespath.compile(text)
        except JMESPathError as error:
            raise ConfigError(f"not a JMESPath expression: {text!r} ({' '.join(str(error).split())})") from None
        for name in _roots(self._compiled.parsed):
            if name not in FIELDS:
                raise ConfigError(
                    f"a message has no {name!r}, in {text!r}: an expression begins with {', '.join(FIELDS)}, "
                    "and text stands in single quotes"
                )

    def value(self, document: Mapping[str, Any]) -> Any:
        """Its value for a document; None for what is not there. Raises `ValueError` for wrong arguments."""
        return self._compiled.search(document)

    def holds(self, document: Mapping[str, Any]) -> bool:
        """True where its value is anything but null, false, and empty text, lists and objects."""
        value = self.value(document)
        return value is not None and value is not False and value not in _FALSE


class Template:
    """Text with expressions in braces, such as ``deploy/{body.repository.full_name}``."""

    def __init__(self, text: str) -> None:
        parts = _PLACE.split(text)
        if any(brace in literal for literal in parts[::2] for brace in "{}"):
            raise ConfigError(f"a brace without its partner, in {text!r}")
        self._literals = parts[::2]
        self._places = [(inner, Expression(inner)) for inner in parts[1::2]]

    def fill(self, document: Mapping[str, Any]) -> str:
        """The text for a document. Raises `ValueError` where a place gets anything but text or a number."""
        filled = [self._literals[0]]
        for (text, expression), literal in zip(self._places, self._literals[1:], strict=True):
            value = expression.value(document)
            if not isinstance(value, str | int | float) or isinstance(value, bool) or value == "":
                raise ValueError(f"{{{text}}} is {json.dumps(value)[:80]}, neither text nor a number")
            filled += [str(value), literal]
        return "".join(filled)


def document(message: Message) -> dict[str, Any]:
    """The message as expressions see it."""
    verified = message.verified
    return {
        "id": message.id,
        "topic": message.topic,
        "time": format_time(message.time_us),
        "headers": {name.lower(): value for name, value in reversed(message.headers)},
        "query": dict(parse_qsl(message.query, keep_blank_values=True)),
        "body": parse_body(message),
        "verified": {"provider": verified.provider, "key": verified.key} if verified else None,
        "hops": list(message.hops),
    }


def parse_body(message: Message) -> Any:
    """The value of a body: JSON; a form as an object, or the value of its only field ``payload``; otherwise the text.

    None if it is no text.
    """
    try:
        text = message.body.decode("utf-8")
    except UnicodeDecodeError:
        return None
    if (message.header("content-type") or "").lower().startswith(_FORM):
        fields = dict(parse_qsl(text, keep_blank_values=True))
        return _json_or_text(fields["payload"]) if fields.keys() == {"payload"} else fields
    return _json_or_text(text)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _roots(node: Mapping[str, Any]) -> Iterator[str]:
    """The fields that an expression looks up in the message itself, not in something inside."""
    if node["type"] == "field":
        yield node["value"]
    if node["type"] == "expref":
        return  # such as &age in sort_by(body.people, &age)
    children = node["children"]
    for child in children if node["type"] in _ONE_SCOPE else children[:1]:
        yield from _roots(child)
