"""The publish flow of both the app and the fast path: verify if the topic has a source, store, respond."""

from collections.abc import Callable, Sequence
from functools import partial

import trio

from ..access.admitted import Accepted, AdmittedPublish, Confirmation
from ..access.client_address import client_network
from ..access.control import AccessControl
from ..errors import BadSignature, Forbidden, HookbotError, Unavailable
from ..log.deduplication import Outcome
from ..protocol.envelope import LARGE_BODY
from ..protocol.message import Draft
from ..protocol.request import Request
from ..protocol.response import Response, stored_response
from ..protocol.topics import is_unsafe
from ..signatures import CertificateNeeded
from .services import Services

# Parsing takes up to a hundred times as long as hashing.
SMALL_BODY = 16 << 10

Answered = Callable[[Response | HookbotError], None]
"""Callback for the outcome of a publish."""


async def publish(services: Services, admitted: AdmittedPublish, body: bytes) -> Response:
    """Verify and store a publish, or answer a provider's challenge, and return the response.

    Raises `Refused` or `Unavailable`, and then nothing is stored.
    """
    accepted = await verify(services.access, admitted, body)
    if isinstance(accepted, Response):
        return accepted
    return stored_response(await services.broker.publish(accepted), admitted.request.http)


def publish_soon(services: Services, admitted: AdmittedPublish, body: bytes, done: Answered) -> None:
    """Store a publish that needs no verification, without a task; `done` is called with the outcome.

    Raises `Unavailable` at once if the writer's queue is full or the hub is shutting down; then `done` is not called.
    """
    services.broker.submit([admitted.draft(body)], partial(_answer, admitted.request.http, done))


async def verify(access: AccessControl, admitted: AdmittedPublish, body: bytes) -> Draft | Response:
    """The draft to store, or the response to a provider's challenge, without blocking the loop.

    Large bodies are verified in threads; what waits for a thread is dropped if it is cancelled. Fetches a certificate
    or a confirmation URL where the provider's scheme needs one. Raises `BadSignature`, `BodyTooLarge` if the body would
    have to be parsed and is beyond the ceiling, `Forbidden` if it names an owner that is not the source's,
    `TooManyRequests` after too many bad signatures, publishes or fetches, and `Unavailable` if a fetch fails.
    """
    request = admitted.request
    try:
        accepted = await _accept(access, admitted, body)
    except BadSignature as error:
        access.count_failure(request.http, request.topic, admitted.source, error)
        raise
    except Forbidden as error:
        access.report_foreign(request.http, request.topic, admitted.source, error)
        raise
    if isinstance(accepted, Response):
        return accepted
    # Counted after verification: otherwise anybody could use up the rate limit of a source.
    access.count_genuine(request.http, admitted.source)
    if isinstance(accepted, Confirmation):
        await access.fetches.get(accepted.url, client_network(request.http.client), now_s=access.passed_s)
        return accepted.draft
    return accepted


async def _accept(access: AccessControl, admitted: AdmittedPublish, body: bytes) -> Accepted:
    try:
        return await _accept_known(access, admitted, body)
    except CertificateNeeded as needed:
        # Verification is pure and cannot fetch: it names the certificate, and runs again once the cache has it.
        client = client_network(admitted.request.http.client)
        await access.fetches.fill(needed.cache, needed.url, client, now_s=access.passed_s)
    return await _accept_known(access, admitted, body)


async def _accept_known(access: AccessControl, admitted: AdmittedPublish, body: bytes) -> Accepted:
    accept = partial(access.verify_now, lambda now_s: admitted.accept(body, now_s=now_s))
    parsed = admitted.source is not None and admitted.source.parses_body
    # Up to these sizes, hashing or parsing takes about a millisecond; a thread is only worth it above.
    if len(body) <= (SMALL_BODY if parsed else LARGE_BODY):
        await trio.lowlevel.checkpoint()
        return accept()
    # Strangers have few threads, so that their bodies do not keep others waiting; a token earns one of Trio's own.
    limiter = (access.parsing if parsed else access.hashing) if is_unsafe(admitted.request.topic) else None
    # Abandoned if the client leaves or the hub shuts down: what a thread still does is short, because of the ceilings.
    return await trio.to_thread.run_sync(accept, abandon_on_cancel=True, limiter=limiter)


def _answer(request: Request, done: Answered, result: Sequence[Outcome] | Unavailable) -> None:
    outcome = result if isinstance(result, Unavailable) else result[0]
    done(outcome if isinstance(outcome, HookbotError) else stored_response(outcome, request))
