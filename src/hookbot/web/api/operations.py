"""Operations of the API: a method and a path, with its parameters, its answer, and the function that gives it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

from quart import Blueprint, Response, request

from ...access.audit import audit
from ...access.control import AccessControl
from ...access.scope import Scope
from ...access.tokens import find_tokens
from ...errors import Refused
from ...protocol.envelope import encode_line
from ...protocol.message import ID_PATTERN
from ...protocol.paths import wanted_at
from ...protocol.request import Request
from ...protocol.topics import TopicFilter
from ..asgi import plain_request
from .admission import admit

Method = Literal["GET", "POST", "DELETE"]
JSON = "application/json"
JSON_LINES = "application/x-ndjson"
ID_OF_MESSAGE: Mapping[str, Any] = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
PATH_OF_SUBSCRIPTION: Mapping[str, Any] = {"type": "string", "format": "subscription-path"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the query or a header or, where the path has its name in angle brackets, of the path."""

    name: str
    description: str
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})
    required: bool = False
    place: Literal["query", "header"] = "query"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request to the API, whose parameters are known ones."""

    plain: Request
    scope: Scope
    values: Mapping[str, str]
    """Parameters of the query."""

    @property
    def in_session(self) -> bool:
        """True if its tokens are those of a session of the console."""
        return not any(find_tokens(self.plain))

    def audit(self, act: str, **what: str | int | None) -> None:
        """Log an act of whoever asked, once it is done."""
        audit(act, by=self.scope.by, client=self.plain.client, **what)

    def get(self, name: str) -> str | None:
        """Value of a parameter of the query; None if it is absent or empty."""
        return self.values.get(name) or None

    def need(self, name: str) -> str:
        """Value of a parameter of the query. Raises `Refused` if it is absent or empty."""
        value = self.get(name)
        if value is None:
            raise Refused(f"the query parameter {name} is missing; add ?{name}=...")
        return value

    def one_of(self, name: str, choices: Sequence[str], default: str) -> str:
        """Value of a parameter that is one of some words. Raises `Refused` for any other."""
        value = self.get(name) or default
        if value not in choices:
            raise Refused(f"{name} has to be {' or '.join(filter(None, choices))}, not {value[:40]!r}")
        return value

    def has(self, name: str) -> bool:
        """True if the query has a parameter that needs no value. Raises `Refused` if it has any but true."""
        value = self.values.get(name, "true")
        if value not in ("", "true"):
            raise Refused(f"{name} has to be true, or without a value, not {value[:40]!r}")
        return name in self.values

    def number(self, name: str, default: int, *, least: int = 1, most: int) -> int:
        """Value of a parameter that is a whole number within bounds. Raises `Refused` for any other."""
        text = self.get(name) or str(default)
        if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
            raise Refused(f"{name} has to be a whole number from {least} to {most}, not {text[:40]!r}")
        return int(text)


Handler = Callable[..., Awaitable[Mapping[str, Any] | Response]]
"""Function of an operation: takes an `Asked` and the parameters of the path; returns a JSON object or a response."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation, as the OpenAPI document describes it."""

    method: Method
    path: str
    """Path as Quart writes it, with parameters in angle brackets."""
    summary: str
    parameters: Sequence[Parameter]
    answers: Mapping[str, Any]
    """By content type, the type of the JSON object that it answers or of each JSON line; None for anything else."""
    description: str


class Api:
    """The operations of the API, on a blueprint."""

    def __init__(self, access: AccessControl) -> None:
        self.blueprint = Blueprint("api", __name__)
        self.operations: list[Operation] = []
        self._access = access

    def add(
        self,
        method: Method,
        path: str,
        handler: Handler,
        summary: str,
        *,
        parameters: Sequence[Parameter] = (),
        answer: Any = None,
        lines: Any = None,
        content_types: Sequence[str] = (),
    ) -> None:
        """Add an operation. The first sentence about it is its summary, the rest is the docstring of its handler.

        It answers a JSON object of the type `answer`, JSON lines of the type `lines`, or bytes of `content_types`.
        """
        description = " ".join((handler.__doc__ or "").split())
        types = {JSON: answer, JSON_LINES: lines}
        answers = {**{one: its for one, its in types.items() if its}, **dict.fromkeys(content_types)}
        self.operations.append(Operation(method, path, summary, parameters, answers, description))
        in_query = {one.name for one in parameters if one.place == "query" and f"<{one.name}>" not in path}

        async def respond(**of_path: str) -> Response:
            plain = plain_request(request)
            scope = admit(self._access, plain, _named(plain))
            plain.check_names({"token", *in_query})
            answer = await handler(Asked(plain, scope, plain.parameters), **of_path)
            return answer if isinstance(answer, Response) else Response(encode_line(answer), content_type=JSON)

        # Quart takes no dots in a name.
        rule: Any = {
            "endpoint": f"{method} {path.replace('.', ' ')}",
            "methods": [method],
            "provide_automatic_options": False,
        }
        self.blueprint.add_url_rule(path, view_func=respond, **rule)


def _named(plain: Request) -> Sequence[str]:
    """Patterns of the topics that the query names; none if it names none, or not as a subscription would."""
    topic, path = plain.parameters.get("topic"), plain.parameters.get("path")
    with suppress(Refused):
        if topic:
            return TopicFilter.parse(topic).patterns
        if path:
            return wanted_at(path).patterns
    return ()
