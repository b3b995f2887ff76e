"""Signatures: how every provider signs, and what a signature proves. Pure: the time is passed, nothing is fetched.

provider = load_provider("slack", {"max_age": 60})
request = SignedRequest(body, headers, "POST", url)
reply = provider.handshake(request, secrets, now=now)   # the response to a challenge, or None
proof = provider.verify(request, secrets, now=now)      # raises BadSignature, which says why

A `Provider` is the rule of one kind of sender. `load_provider` takes it from the catalogue or from a plugin. Most are
a `Scheme`: data that says where in a `SignedRequest` the signature and the signed parts are, with an algorithm, a
time window and for some senders a challenge. The others show a shared secret or a JSON Web Token, or publish a
certificate, for which they ask with `CertificateNeeded`. Access control verifies publishes with it; the hub's
configuration and the command line load providers by name; plugins subclass `Provider`.
"""

from ..protocol.response import Response
from .catalogue import load_provider, provider_names
from .provider import CertificateNeeded, Proof, Provider
from .request import SignedRequest

Reply = Response
"""The name by which providers of other packages know the response to a challenge."""

__all__ = ["CertificateNeeded", "Proof", "Provider", "Reply", "SignedRequest", "load_provider", "provider_names"]
