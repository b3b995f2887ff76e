"""The OpenAPI document (version 3.1), made of the operations that it describes."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

from ...access.session import COOKIES
from ...errors import (
    BodyTooLarge,
    Forbidden,
    HookbotError,
    NotFound,
    Refused,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from ...protocol.paths import API
from ...version import __version__
from .operations import JSON_LINES, Api, Asked, Operation, Parameter

OPENAPI = f"{API}openapi.json"
ERRORS: Sequence[tuple[type[HookbotError], str]] = (
    (Refused, "The request is wrong, and says how"),
    (Unauthorized, "No valid token"),
    (Forbidden, "The token does not open this, or a web page may not ask for it"),
    (NotFound, "There is no such thing, or the token does not show it"),
    (BodyTooLarge, "A body is too large"),
    (TooManyRequests, "A limit is reached"),
    (Unavailable, "The hub cannot do this now"),
)
_PLACE = re.compile(r"<(\w+)>")
_WORD = re.compile(r"\w+")
_SESSION = "Of the console. Changes need a same-origin proof and the header Hookbot-Console: 1, too."
_PROBLEM = {
    "type": "object",
    "required": ["title", "status", "detail"],
    "properties": {"title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"}},
}


def add_description(api: Api) -> None:
    """Add the operation that shows the document, which describes itself, too."""

    @cache
    def document() -> Mapping[str, Any]:
        return describe(api.operations)

    async def show(asked: Asked) -> Mapping[str, Any]:
        return document()

    api.add("GET", OPENAPI, show, "Show this document", answer=dict[str, Any])


def describe(operations: Sequence[Operation]) -> Mapping[str, Any]:
    """The document about these operations."""
    types = [answer for one in operations for answer in one.answers.values() if answer]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        methods = paths.setdefault(_in_braces(one.path), {})
        methods[one.method.lower()] = _operation(one, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "hookbot", "version": __version__, "description": "Everything that the console does."},
        "paths": paths,
        "security": [{"token": []}, {"user": []}, {"session": []}],
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "user": {"type": "http", "scheme": "basic", "description": "The token is the user name."},
                "session": {"type": "apiKey", "in": "cookie", "name": COOKIES[-1], "description": _SESSION},
            },
        },
    }


def _operation(one: Operation, schema_of: Mapping[int, Any]) -> Mapping[str, Any]:
    content = {kind: {"schema": schema_of[id(its)]} if its else {} for kind, its in one.answers.items()}
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    refusals = {"application/problem+json": problem, "text/plain": {"schema": {"type": "string"}}}
    return {
        "summary": one.summary,
        "description": one.description,
        "operationId": one.method.lower() + "".join(map(str.title, _WORD.findall(one.path.removeprefix(API)))),
        "parameters": [_parameter(parameter, one.path) for parameter in one.parameters],
        "responses": {
            "200": {"description": _described(one), "content": content},
            **{str(error.status): {"description": text, "content": refusals} for error, text in _errors_of(one)},
        },
    }


def _described(one: Operation) -> str:
    return (
        f"{one.summary}; of JSON lines, the schema is that of each line" if JSON_LINES in one.answers else one.summary
    )


def _errors_of(one: Operation) -> Sequence[tuple[type[HookbotError], str]]:
    """The errors that it may answer: only parameters name what there may not be, and only changes have bodies."""
    never = {*(() if one.parameters else (NotFound,)), *((BodyTooLarge,) if one.method == "GET" else ())}
    return [(error, text) for error, text in ERRORS if error not in never]


def _parameter(one: Parameter, path: str) -> Mapping[str, Any]:
    place = "path" if one.name in _PLACE.findall(path) else one.place
    # An empty one is as good as none.
    empty = {"allowEmptyValue": True} if place == "query" and not one.required else {}
    return {
        "name": one.name,
        "in": place,
        **empty,
        "required": one.required,
        "description": one.description,
        "schema": one.schema,
    }


def _in_braces(path: str) -> str:
    return _PLACE.sub(r"{\1}", path)
