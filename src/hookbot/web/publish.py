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


def publish_soon(services: Services, admitted: AdmittedPublish, body: bytes, done: Answered) -> bool:
    """Verify and store a publish without a task; `done` is called with the outcome, perhaps at once.

    False if verifying it has to wait (`Verifier.verify_now`): then `done` is not called. Nor is it if this raises what
    `publish` does.
    """
    accepted = services.access.verifier.verify_now(admitted, body)
    if isinstance(accepted, Response):
        done(accepted)
    elif accepted is not None:
        services.broker.submit([accepted], partial(_answer, admitted.request.http, done))
    return accepted is not None


def _answer(request: Request, done: Answered, result: Sequence[Outcome] | Unavailable) -> None:
    outcome = result if isinstance(result, Unavailable) else result[0]
    done(outcome if isinstance(outcome, HookbotError) else stored_response(outcome, request))
