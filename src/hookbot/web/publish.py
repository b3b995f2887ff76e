"""The publish flow of both the app and the fast path: verify if the topic has a source, store, respond."""

from collections.abc import Callable, Sequence
from functools import partial

from ..access.admitted import AdmittedPublish
from ..errors import HookbotError, Unavailable
from ..log.deduplication import Outcome
from ..protocol.request import Request
from ..protocol.response import Response, stored_response
from .services import Services

Answered = Callable[[Response | HookbotError], None]
"""Callback for the outcome of a publish."""


async def publish(services: Services, admitted: AdmittedPublish, body: bytes) -> Response:
    """Verify and store a publish, or answer a provider's challenge, and return the response.

    Raises `Refused` or `Unavailable`, and then nothing is stored.
    """
    accepted = await services.access.verifier.verify(admitted, body)
    if isinstance(accepted, Response):
        return accepted
    return stored_response(await services.broker.publish(accepted), admitted.request.http)


def publish_soon(services: Services, admitted: AdmittedPublish, body: bytes, done: Answered) -> None:
    """Store a publish that needs no verification, without a task; `done` is called with the outcome.

    Raises `Unavailable` at once if the writer's queue is full or the hub is shutting down; then `done` is not called.
    """
    services.broker.submit([admitted.draft(body)], partial(_answer, admitted.request.http, done))


def _answer(request: Request, done: Answered, result: Sequence[Outcome] | Unavailable) -> None:
    outcome = result if isinstance(result, Unavailable) else result[0]
    done(outcome if isinstance(outcome, HookbotError) else stored_response(outcome, request))
