"""The publish flow of both the app and, for what has to wait, the fast path: verify, store, respond."""

from ..access.admitted import AdmittedPublish
from ..protocol.response import Response
from .replies import Question
from .services import Services


async def publish(services: Services, admitted: AdmittedPublish, body: bytes) -> Response | Question:
    """Verify and store a publish, or answer a provider's challenge, and return the response.

    If the sender waits for a reply, that is a question, which `Replies.wait` has answered; nobody may hold the body
    meanwhile. Raises `Refused` or `Unavailable`, and then nothing is stored.
    """
    accepted = await services.access.verifier.verify(admitted, body)
    if isinstance(accepted, Response):
        return accepted
    return services.replies.respond(admitted, await services.broker.publish(accepted))
