"""The one publish flow of both ways in: verified where it has to come from a source, stored, answered."""

from collections.abc import Callable, Sequence
from functools import partial

import trio

from ..access.admitted import Accepted, AdmittedPublish, Confirmation
from ..access.client_address import client_network
from ..access.control import AccessControl
from ..errors import BadSignature, HookbotError, Unavailable
from ..log.deduplication import Outcome
from ..protocol.envelope import LARGE_BODY
from ..protocol.message import Draft
from ..protocol.request import Request
from ..protocol.response import Response, stored_response
from ..signatures import CertificateNeeded
from .services import Services

Answered = Callable[[Response | HookbotError], None]


async def publish(services: Services, admitted: AdmittedPublish, body: bytes) -> Response:
    """Verify, store and answer. Raises `Refused`, or `Unavailable`; then nothing is stored."""
    accepted = await verify(services.access, admitted, body)
    if isinstance(accepted, Response):
        return accepted
    return stored_response(await services.broker.publish(accepted), admitted.request.http)


def publish_soon(services: Services, admitted: AdmittedPublish, body: bytes, done: Answered) -> None:
    """`publish` without a task, for what needs no verification; `done` is told how it went.

    Raises `Unavailable` at once when too much waits to be stored.
    """
    services.broker.submit([admitted.draft(body)], partial(_answer, admitted.request.http, done))


async def verify(access: AccessControl, admitted: AdmittedPublish, body: bytes) -> Draft | Response:
    """`AdmittedPublish.accept`, without holding up the loop, and with whatever has to be fetched for it.

    Raises `BadSignature`; `TooManyRequests` where there were too many of those, or too much was published;
    `Unavailable` when something cannot be fetched.
    """
    request = admitted.request
    try:
        accepted = await _accept(access, admitted, body)
    except BadSignature as error:
        access.count_failure(request.http, request.topic, admitted.source, error)
        raise
    if isinstance(accepted, Response):
        return accepted
    access.count_genuine(admitted.source)
    if isinstance(accepted, Confirmation):
        await access.fetches.get(accepted.url, client_network(request.http.client), now_s=access.now_s)
        return accepted.draft
    return accepted


async def _accept(access: AccessControl, admitted: AdmittedPublish, body: bytes) -> Accepted:
    try:
        return await _accept_known(admitted, body, access.now_s)
    except CertificateNeeded as needed:
        client = client_network(admitted.request.http.client)
        await access.fetches.fill(needed.cache, needed.url, client, now_s=access.now_s)
    return await _accept_known(admitted, body, access.now_s)


async def _accept_known(admitted: AdmittedPublish, body: bytes, now_s: float) -> Accepted:
    if len(body) <= LARGE_BODY:
        await trio.lowlevel.checkpoint()
        return admitted.accept(body, now_s=now_s)
    return await trio.to_thread.run_sync(lambda: admitted.accept(body, now_s=now_s))


def _answer(request: Request, done: Answered, result: Sequence[Outcome] | Unavailable) -> None:
    outcome = result if isinstance(result, Unavailable) else result[0]
    done(outcome if isinstance(outcome, HookbotError) else stored_response(outcome, request))
