"""Narrowed tokens: whoever holds a token can make a weaker one of it, without the hub's key.

The construction is that of macaroons (Birgisson et al., NDSS 2014): a chain of HMACs over caveats, each keyed by the
one before. The ancestor's token is itself an HMAC, of a path, and is the root:

    signature 0 = HMAC-SHA256(root token, "hookbot narrowed token")
    signature n = HMAC-SHA256(signature n-1, caveat n)

A narrowed token is base64url, without padding, of

    digest "\\n" path "\\n" caveat 1 "\\n" ... caveat n "\\n" signature n

where `digest` is that of the root token (``sha1`` or ``sha256``), `path` is the path that it opens, a caveat is
``name=value`` in UTF-8 and the signature is its 32 bytes. Whoever has it can add caveats, and nobody can remove one.
"""

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from .tokens import DIGESTS, Digest, make_token

MAX_LENGTH = 1024
SIGNATURE_BYTES = 32
CAVEATS = frozenset({"path", "only", "expires", "name", "since", "live", "cursor"})
"""`path`: a path, or what is beneath one that ends in "/". `only`: ``pub`` or ``sub``. `expires`, `since`: seconds
since 1970; nothing older than `since` is shown. `live`: ``1``, no history. `name`: to revoke by. `cursor`: this one."""

_PURPOSE = b"hookbot narrowed token"


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A narrowed token, taken apart. That it could be read says nothing of whether it is genuine."""

    digest: Digest
    path: str
    caveats: tuple[str, ...]
    signature: bytes

    @classmethod
    def of(cls, token: str, path: str) -> "Narrowed":
        """The root of a chain: a plain token and the path that it was made for."""
        digest: Digest = "sha1" if len(token) == DIGESTS["sha1"] else "sha256"
        return cls(digest, path, (), _sign(token.encode(), _PURPOSE))

    @classmethod
    def parse(cls, text: str) -> "Narrowed":
        """Take a narrowed token apart; raises `ValueError` if it is none."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"a token has at most {MAX_LENGTH} characters")
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        head, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
        digest, path, *caveats, end = head.decode().split("\n")
        if digest not in DIGESTS or end:
            raise ValueError("not a narrowed token")
        narrowed = cls(digest, path, tuple(caveats), signature)
        if str(narrowed) != text:
            raise ValueError("a token has one spelling")
        return narrowed

    def narrow(self, name: str, value: str) -> "Narrowed":
        """A weaker token; raises `ValueError` for a caveat that no hub understands."""
        caveat = f"{name}={value}"
        if name not in CAVEATS or "\n" in caveat:
            raise ValueError(f"not a caveat: {caveat!r}")
        return self._bind(caveat)

    def is_made_with(self, key: str) -> bool:
        """Whether its chain begins with the hub's key; the comparison takes constant time."""
        chain = Narrowed.of(make_token(key, self.path, self.digest), self.path)
        for caveat in self.caveats:
            chain = chain._bind(caveat)
        return hmac.compare_digest(chain.signature, self.signature)

    def _bind(self, caveat: str) -> "Narrowed":
        signature = _sign(self.signature, caveat.encode())
        return Narrowed(self.digest, self.path, (*self.caveats, caveat), signature)

    def __str__(self) -> str:
        head = "".join(f"{line}\n" for line in (self.digest, self.path, *self.caveats))
        return urlsafe_b64encode(head.encode() + self.signature).rstrip(b"=").decode()


def _sign(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")
