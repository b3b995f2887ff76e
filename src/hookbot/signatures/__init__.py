"""Webhook signatures: how each sender signs, and what a signature proves. Verifying uses no clock, file or socket.

provider = load_provider("slack", {"max_age": 60})
request = SignedRequest(body, headers, "POST", url)
reply = provider.handshake(request, secrets, now=now)   # the response to a challenge, or None
proof = provider.verify(request, secrets, now=now)      # raises BadSignature with the reason

A `Provider` is the signing rule of one kind of sender; `load_provider` finds it in the catalogue or in a plugin. Most
providers are a `Scheme`: data that says where in a `SignedRequest` the signature and the signed parts are, with an
algorithm, a time window and for some senders a challenge. Other senders present a shared secret or a JSON Web Token, or
publish a certificate, which the caller fetches on `CertificateNeeded`. Access control verifies publishes with
providers, configuration and command line load them by name, and plugins subclass `Provider`. `samples` has events of
providers, to be signed in tests.
"""

from ..protocol.response import Response
from .loading import load_provider, provider_names
from .provider import CertificateNeeded, Proof, Provider
from .request import SignedRequest

Reply = Response
"""The public name, for plugins, of the response to a challenge."""

__all__ = ["CertificateNeeded", "Proof", "Provider", "Reply", "SignedRequest", "load_provider", "provider_names"]
