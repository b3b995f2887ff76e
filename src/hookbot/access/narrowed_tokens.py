"""Narrowed tokens: whoever holds a token can make a weaker one of it, without the hub's key.

The construction is that of macaroons (Birgisson et al., NDSS 2014): a chain of HMACs over caveats, each keyed by the
one before. A plain token is itself an HMAC, of a path, and is the root:

    signature 0 = HMAC-SHA256(plain token, "hookbot narrowed token")
    signature n = HMAC-SHA256(signature n-1, caveat n)

A narrowed token is base64url (RFC 4648, section 5), without padding, of

    digest "\\n" path "\\n" caveat 1 "\\n" ... caveat n "\\n" signature n

where `digest` is that of the plain token (``sha1`` or ``sha256``), `path` is the path that it was made for, a caveat
is ``name=value`` in UTF-8, and the signature is its 32 bytes. Whoever has it can add caveats, and nobody can take one
away.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass

from .tokens import DIGESTS, Digest, make_token

MAX_LENGTH = 1024
SIGNATURE_BYTES = 32
CAVEATS = {
    "path": re.compile(r"/.*"),
    "only": re.compile(r"pub|sub"),
    "expires": re.compile(r"[0-9]{1,12}"),
    "since": re.compile(r"[0-9]{1,12}"),
    "live": re.compile(r"1"),
    "cursor": re.compile(r"[A-Za-z0-9._~-]{1,128}"),
    "name": re.compile(r"[A-Za-z0-9._~@+-]{1,128}"),
}
"""The form of each caveat. `path`: good for it or, if it ends in ``/``, for what is beneath it. `only`: to publish or
to subscribe. `expires`, `since`: seconds since 1970; nothing older than `since` is shown. `live`: no history.
`cursor`: the only cursor or group. `name`: by which it can be revoked."""

_PURPOSE = b"hookbot narrowed token"
_PLAIN = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class NarrowedToken:
    """A narrowed token, parsed, which does not mean that it is genuine."""

    digest: Digest
    path: str
    caveats: tuple[str, ...]
    signature: bytes

    @classmethod
    def of(cls, token: str, path: str) -> "NarrowedToken":
        """The root of a chain: a plain token and the path that it was made for; raises `ValueError` if it is none."""
        for digest, length in DIGESTS.items():
            if len(token) == length and _PLAIN.fullmatch(token) and "\n" not in path:
                return cls(digest, path, (), _sign(token.encode(), _PURPOSE))
        raise ValueError("neither a narrowed token nor a plain one, of 40 or 64 hexadecimal digits")

    @classmethod
    def parse(cls, text: str) -> "NarrowedToken":
        """Parse a narrowed token; raises `ValueError` if it is none."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"a token has at most {MAX_LENGTH} characters")
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        head, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
        digest, path, *caveats, end = head.decode().split("\n")
        narrowed = cls(_digest(digest), path, tuple(caveats), signature)
        if end or str(narrowed) != text:
            raise ValueError("a narrowed token has one spelling")
        return narrowed

    def narrow(self, name: str, value: str) -> "NarrowedToken":
        """A weaker token; raises `ValueError` for a caveat that no hub understands."""
        if name not in CAVEATS or not CAVEATS[name].fullmatch(value):
            raise ValueError(f"no token can be narrowed to {name}={value}")
        return self._bind(f"{name}={value}")

    def is_made_with(self, key: str) -> bool:
        """Whether its chain begins with the hub's key; the comparison takes constant time."""
        signature = _sign(make_token(key, self.path, self.digest).encode(), _PURPOSE)
        for caveat in self.caveats:
            signature = _sign(signature, caveat.encode())
        return hmac.compare_digest(signature, self.signature)

    def _bind(self, caveat: str) -> "NarrowedToken":
        signature = _sign(self.signature, caveat.encode())
        return NarrowedToken(self.digest, self.path, (*self.caveats, caveat), signature)

    def __str__(self) -> str:
        head = "".join(f"{line}\n" for line in (self.digest, self.path, *self.caveats))
        return urlsafe_b64encode(head.encode() + self.signature).rstrip(b"=").decode()


def _digest(text: str) -> Digest:
    for digest in DIGESTS:
        if digest == text:
            return digest
    raise ValueError(f"not a digest: {text[:20]!r}")


def _sign(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")
