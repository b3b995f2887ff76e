"""What verifying a publish may have to wait for: a thread for large bodies, and the certificates of some senders."""

import trio

from ..errors import BadSignature
from ..protocol.envelope import LARGE_BODY
from ..protocol.message import Draft
from ..signatures import CertificateNeeded, Reply
from .admitted import Accepted, AdmittedPublish, Confirmation
from .control import AccessControl


async def verify(access: AccessControl, publishing: AdmittedPublish, body: bytes) -> Draft | Reply:
    """`AdmittedPublish.accept`, without holding up the loop, and with whatever has to be fetched for it.

    Raises `BadSignature`; `TooManyRequests` where there were too many of those, or too much was published;
    `Unavailable` when something cannot be fetched.
    """
    try:
        accepted = await _accept(access, publishing, body)
    except BadSignature as error:
        access.distrust(publishing, error)
        raise
    if isinstance(accepted, Reply):
        return accepted
    access.count_genuine(publishing)
    if isinstance(accepted, Confirmation):
        await access.fetches.get(accepted.url, publishing.client, now_s=access.now_s)
        return accepted.draft
    return accepted


async def _accept(access: AccessControl, publishing: AdmittedPublish, body: bytes) -> Accepted:
    try:
        return await _accept_known(publishing, body, access.now_s)
    except CertificateNeeded as needed:
        await access.fetches.fill(needed.cache, needed.url, publishing.client, now_s=access.now_s)
    return await _accept_known(publishing, body, access.now_s)


async def _accept_known(publishing: AdmittedPublish, body: bytes, now_s: float) -> Accepted:
    if len(body) <= LARGE_BODY:
        await trio.lowlevel.checkpoint()
        return publishing.accept(body, now_s=now_s)
    return await trio.to_thread.run_sync(lambda: publishing.accept(body, now_s=now_s))
