"""The OpenAPI document (version 3.1), made of the operations that it describes."""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec

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
from .operations import Api, Asked, Operation, Parameter

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
_PLACE = re.compile(r"<(?:path:)?(\w+)>")
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
    types = [one.answer for one in operations if one.answer is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        methods = paths.setdefault(_in_braces(one.path), {})
        methods[one.method.lower()] = _operation(one, schema_of.get(id(one.answer)))
    return {
        "openapi": "3.1.0",
        "info": {"title": "hookbot", "version": __version__, "description": "Everything that the console does."},
        "paths": paths,
        "security": [{"token": []}, {"user": []}],
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "user": {"type": "http", "scheme": "basic", "description": "The token is the user name."},
            },
        },
    }


def _operation(one: Operation, schema: Mapping[str, Any] | None) -> Mapping[str, Any]:
    content = {one.content_type: {} if schema is None else {"schema": schema}}
    problem = {"schema": {"$ref": "#/components/schemas/Problem"}}
    refusals = {"application/problem+json": problem, "text/plain": {"schema": {"type": "string"}}}
    return {
        "summary": one.summary,
        "description": one.description,
        "operationId": f"{one.method.lower()} {_in_braces(one.path)}",
        "parameters": [_parameter(parameter, one.path) for parameter in one.parameters],
        "responses": {
            "200": {"description": one.summary, "content": content},
            **{str(error.status): {"description": text, "content": refusals} for error, text in ERRORS},
        },
    }


def _parameter(one: Parameter, path: str) -> Mapping[str, Any]:
    in_path = one.name in _PLACE.findall(path)
    place = "path" if in_path else "query"
    return {
        "name": one.name,
        "in": place,
        "required": one.required,
        "description": one.description,
        "schema": one.schema,
    }


def _in_braces(path: str) -> str:
    return _PLACE.sub(r"{\1}", path)
