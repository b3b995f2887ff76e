"""The publish flow of both the app and, for what has to wait, the fast path: verify, store, respond."""

from ..access.admitted import AdmittedPublish
from ..protocol.response import Response, stored_response
from .services import Services


async def publish(services: Services, admitted: AdmittedPublish, body: bytes) -> Response:
    """Verify and store a publish, or answer a provider's challenge, and return the response.

    Raises `Refused` or `Unavailable`, and then nothing is stored.
    """
    accepted = await services.access.verifier.verify(admitted, body)
    if isinstance(accepted, Response):
        return accepted
    return stored_response(await services.broker.publish(accepted), json=admitted.request.http.accepts_json)
