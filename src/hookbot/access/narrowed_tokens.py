"""Narrowed tokens: weaker tokens that the holder of a token can derive from it, without the hub's key.

The construction is that of macaroons (Birgisson et al., NDSS 2014): a chain of HMACs over caveats, each keyed by the
one before. A plain token is itself the HMAC of a path, and is the root:

    signature 0 = HMAC-SHA256(plain token, "hookbot narrowed token")
    signature n = HMAC-SHA256(signature n-1, caveat n)

A narrowed token is base64url (RFC 4648, section 5), without padding, of

    digest "\\n" path "\\n" caveat 1 "\\n" ... caveat n "\\n" signature n

where `digest` is that of the plain token (``sha1`` or ``sha256``), `path` is the path that it was made for, a caveat
is ``name=value`` in UTF-8, and the signature has 32 bytes. The holder can add caveats; removing one would take the
signature before it, which is not part of the token.
"""

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce

from .tokens import DIGESTS, Digest, make_token

# Tokens travel in URLs and headers; the hub checks one HMAC for each caveat, which this bounds.
MAX_LENGTH = 1024
SIGNATURE_BYTES = 32
"""Length of an HMAC-SHA256, which ends each narrowed token."""

CAVEATS = {
    "path": re.compile(r"/.*"),
    "only": re.compile(r"pub|sub"),
    "expires": re.compile(r"[0-9]{1,12}"),
    "since": re.compile(r"[0-9]{1,12}"),
    "live": re.compile(r"1"),
    "cursor": re.compile(r"[A-Za-z0-9._~-]{1,128}"),
    "name": re.compile(r"[A-Za-z0-9._~@+-]{1,128}"),
    "session": re.compile(r"[0-9]{1,12}"),
}
"""Syntax of each caveat's value. `path`: the only path or, if it ends in ``/``, everything beneath it. `only`: publish
or subscribe. `expires`: seconds since 1970. `since`: seconds since 1970; older messages are hidden. `live`: no history.
`cursor`: the only cursor or group. `name`: a name for revoking the token. `session`: as `expires`, for the console,
which makes tokens without this end for whoever has the token; only `expires` holds for anybody it is given to."""

_PURPOSE = b"hookbot narrowed token"
_PLAIN = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True)
class NarrowedToken:
    """A parsed narrowed token, genuine or not; see `is_made_with`."""

    digest: Digest
    path: str
    caveats: tuple[str, ...]
    signature: bytes

    @classmethod
    def of(cls, token: str, path: str) -> "NarrowedToken":
        """Narrowed token without caveats, for a plain token and the path that it was made for.

        Raises `ValueError` if `token` is not a plain token, or `path` contains a newline.
        """
        for digest, length in DIGESTS.items():
            if len(token) == length and _PLAIN.fullmatch(token) and "\n" not in path:
                return cls(digest, path, (), _sign(token.encode(), _PURPOSE))
        raise ValueError("not a token: a plain one has 40 or 64 hexadecimal digits, and a narrowed one is base64url")

    @classmethod
    def read(cls, token: str, path: str) -> "NarrowedToken":
        """Any token as a narrowed one: parsed or, if it is a plain one, that of the path that it was made for.

        Raises `ValueError` if it is no token.
        """
        with suppress(ValueError):
            return cls.parse(token)
        return cls.of(token, path)

    @classmethod
    def made_with(cls, key: str, digest: Digest, path: str, caveats: Sequence[str]) -> "NarrowedToken":
        """The genuine token with these caveats."""
        root = cls.of(make_token(key, path, digest), path)
        return cls(digest, path, tuple(caveats), reduce(_chain, caveats, root.signature))

    @classmethod
    def parse(cls, text: str) -> "NarrowedToken":
        """Parse a narrowed token. Raises `ValueError` if it is malformed or too long. Caveats are not checked."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"a token has at most {MAX_LENGTH} characters, not {len(text)}")
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        head, signature = data[:-SIGNATURE_BYTES], data[-SIGNATURE_BYTES:]
        digest, path, *caveats, end = head.decode().split("\n")
        narrowed = cls(_digest(digest), path, tuple(caveats), signature)
        # Python ignores characters outside the alphabet and spare bits, so many strings would decode to one token.
        if end or str(narrowed) != text:
            raise ValueError("not a narrowed token as hookbot writes it")
        return narrowed

    @property
    def narrowest(self) -> str:
        """The only path that it opens, or everything beneath it. If its paths exclude each other, it opens nothing."""
        further = [caveat.removeprefix("path=") for caveat in self.caveats if caveat.startswith("path=")]
        return max([self.path, *further], key=len)

    def narrow(self, name: str, value: str) -> "NarrowedToken":
        """Weaker token with one more caveat. Raises `ValueError` for an unknown caveat or a malformed value."""
        if name not in CAVEATS or not CAVEATS[name].fullmatch(value):
            raise ValueError(f"a token cannot be narrowed to {name}={value}")
        return self._bind(f"{name}={value}")

    def text(self) -> str:
        """The token, to be given away. Raises `ValueError` if it is longer than any that is parsed."""
        if len(text := str(self)) > MAX_LENGTH:
            raise ValueError(f"a token has at most {MAX_LENGTH} characters, not {len(text)}: it is narrowed too often")
        return text

    def is_made_with(self, key: str) -> bool:
        """True if the token is genuine: its chain starts from this key. The comparison takes constant time."""
        genuine = NarrowedToken.made_with(key, self.digest, self.path, self.caveats)
        return hmac.compare_digest(genuine.signature, self.signature)

    def _bind(self, caveat: str) -> "NarrowedToken":
        return NarrowedToken(self.digest, self.path, (*self.caveats, caveat), _chain(self.signature, caveat))

    def __str__(self) -> str:
        head = "".join(f"{line}\n" for line in (self.digest, self.path, *self.caveats))
        return urlsafe_b64encode(head.encode() + self.signature).rstrip(b"=").decode()


def _digest(text: str) -> Digest:
    for digest in DIGESTS:
        if digest == text:
            return digest
    raise ValueError(f"not a digest: {text[:20]!r}")


def _chain(signature: bytes, caveat: str) -> bytes:
    return _sign(signature, caveat.encode())


def _sign(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha256")
