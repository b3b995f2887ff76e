"""Signers: what is posted to a target is signed for it, anew at each attempt, as a provider's sender would sign it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from ..protocol.message import Headers
from ..signatures import Provider, SignedRequest, load_provider
from ..signatures.samples import sample


@dataclass(frozen=True, slots=True)
class Signer:
    """A signer with the rule of one provider, and one secret; of a pair of keys, the private one."""

    provider: Provider
    secret: str = field(repr=False)
    clock: Callable[[], float] = time.time

    @classmethod
    def load(cls, name: str, options: Mapping[str, Any], secret: str) -> Self:
        """Signer by the rule of the provider of that name, which has signed a sample.

        Raises `ConfigError` if only the sender can sign, or with another secret.
        """
        signer = cls(load_provider(name, options), secret)
        made = sample(signer.provider, id="test", now_s=signer.clock()).request(signer.provider, "http://localhost/")
        signer.sign(made.url, made.headers, made.body, id="test")
        return signer

    def sign(self, url: str, headers: Headers, body: bytes, *, id: str, method: str = "POST") -> SignedRequest:
        """A request signed now, in place of any older signature; with `id` if it has none and one is signed.

        Raises `BadSignature`, `BodyTooLarge` or `ConfigError` if it lacks something that is signed.
        """
        return self.provider.sign_anew(SignedRequest(body, headers, method, url), self.secret, now=self.clock(), id=id)
