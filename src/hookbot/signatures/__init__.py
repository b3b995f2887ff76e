"""How every provider signs, and what a signature proves. Pure: the time is passed, and nothing is fetched.

provider = load_provider("slack", {"max_age": 60})
request = SignedRequest(body, headers, "POST", url)
reply = provider.handshake(request, secrets, now=now)   # the answer if the sender only asks who is there, or None
proof = provider.verify(request, secrets, now=now)      # raises BadSignature, which says why
"""

from ..protocol.response import Response
from .provider import CertificateNeeded, Proof, Provider
from .registry import load_provider, provider_names
from .request import SignedRequest

Reply = Response
"""The name by which providers of other packages know the response to a challenge."""

__all__ = [
    "CertificateNeeded",
    "Proof",
    "Provider",
    "Reply",
    "SignedRequest",
    "load_provider",
    "provider_names",
]
