"""JSON Web Tokens (RFC 7519) as proof of a sender."""

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, cast

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from ..errors import BadSignature, ConfigError
from ..protocol.response import Response
from .algorithms import is_sha256, load_private, load_public
from .permission import permission
from .places import describe, is_in_head, parse_place
from .provider import Proof, Provider
from .request import SignedRequest
from .timestamps import MAX_AGE_S, check_fresh
from .weak_keys import PEM, WeakKey, check_public, check_shared

if TYPE_CHECKING:
    from jwt.types import Options

# For clocks that differ. RFC 7519, section 4.1.4, allows "a few minutes"; machines with NTP need far less.
LEEWAY_S = 60

# PyJWT looks at each character before it verifies. nginx passes on no longer header by default.
MAX_TOKEN_BYTES = 8 << 10

# The fewest bytes of a key for each algorithm (RFC 7518, section 3.2).
_HMAC = {"HS256": 32, "HS384": 48, "HS512": 64}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512", "secp256k1": "ES256K"}
# PyJWT would read the clock; times are checked here against `now`, and the other claims are not constrained.
_OFF = dict.fromkeys(("verify_exp", "verify_nbf", "verify_iat", "verify_sub", "verify_jti"), False)


@dataclass(frozen=True, kw_only=True)
class Jwt(Provider):
    """Provider of senders that present a JSON Web Token, in a header or at another place.

    A secret is a shared key as text, a public key in PEM, a JWK or a JWK set. The kind of the key decides which
    algorithms are allowed, never the token.
    """

    signs_every_post = True

    header: str = "Authorization"
    prefix: str = "Bearer "
    audience: str = ""
    issuer: str = ""
    body_claim: str = ""
    """Claim with the SHA-256 of the body in hex, such as ``payload_hash``; if empty, the token covers no body."""
    max_age: float = MAX_AGE_S
    """Seconds after ``iat`` for which a token without ``exp`` is valid."""

    def __post_init__(self) -> None:
        """Raise `ConfigError` if `header` is not a place."""
        parse_place(self.header)

    @property
    def covers(self) -> tuple[str, ...]:
        """The time and, if there is a body claim, the body."""
        return ("timestamp", "body") if self.body_claim else ("timestamp",)

    @property
    def options(self) -> tuple[str, ...]:
        """The place of the token, the expected claims, and the bound on its age."""
        return ("header", "prefix", "audience", "issuer", "body_claim", "max_age")

    @property
    def secret_in(self) -> tuple[str, ...]:
        """The place of the token, which is as good as a password until it expires."""
        return (self.header,)

    @property
    def parses_body(self) -> bool:
        """True if the token is in the body."""
        return not is_in_head(self.header)

    def check(self, secret: str) -> None:
        """Raise `ConfigError` if `secret` is not a key, or a text too short for every algorithm."""
        list(_keys(secret, None))

    def check_head(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> None:
        """Raise `BadSignature` if the token belongs into the head, and is missing, malformed, forged or too old."""
        if is_in_head(self.header):
            self._token(request, secrets, now)

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof that the request carries a valid token signed by one of the keys; raises `BadSignature`.

        There is a replay key only with a body claim, since senders may use other tokens for many requests.
        """
        token, key, claims, signed_at = self._token(request, secrets, now)
        if not self.body_claim:
            fingerprint = sha256(request.body).hexdigest()
            return Proof(key=key, fingerprint=fingerprint, signed_at=signed_at, bearer=True)
        self._check_body(claims, request.body)
        # Without the signature, since several base64url texts decode to the same bytes.
        fingerprint = sha256(token.rpartition(".")[0].encode()).hexdigest()
        return Proof(key=key, fingerprint=fingerprint, signed_at=signed_at, replay_key=fingerprint)

    def handshake(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Response | None:
        """The `permission` to deliver, if the sender asks for it and presents a token; raises `BadSignature`."""
        allowed = permission(request)
        if allowed:
            self.verify(request, secrets, now=now)
        return allowed

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request with a token that is valid for five minutes."""
        claims: dict[str, Any] = {"iat": int(now), "exp": int(now) + int(MAX_AGE_S)}
        claims |= {name: value for name, value in (("aud", self.audience), ("iss", self.issuer)) if value}
        if self.body_claim:
            claims[self.body_claim] = sha256(request.body).hexdigest()
        try:
            key, algorithm = _signing_key(secret)
            token = jwt.encode(claims, key, algorithm)
        except (ValueError, jwt.PyJWTError):
            raise ConfigError("signing a JWT needs a shared key or a private key in PEM") from None
        return request.put(self.header, self.prefix + token)

    def _token(
        self, request: SignedRequest, secrets: Sequence[str], now: float
    ) -> tuple[str, int, dict[str, Any], float | None]:
        """A valid token, the index of its key, its claims and its issue time; raises `BadSignature`."""
        token = request.need_after(self.prefix, self.header)
        if len(token) > MAX_TOKEN_BYTES:
            raise BadSignature(f"the JSON Web Token is longer than {MAX_TOKEN_BYTES} bytes")
        key, claims = self._claims(token, secrets)
        return token, key, claims, _check_times(claims, now, self.max_age)

    def _claims(self, token: str, secrets: Sequence[str]) -> tuple[int, dict[str, Any]]:
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, RecursionError):
            raise BadSignature(f"{describe(self.header)} has no JSON Web Token") from None
        reason = "no key has its key id"
        for index, secret in enumerate(secrets):
            for key, algorithms in _keys(secret, header.get("kid")):
                try:
                    return index, self._decode(token, key, algorithms)
                except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
                    reason = str(error) or type(error).__name__
        raise BadSignature(f"the JSON Web Token is invalid: {reason}")

    def _decode(self, token: str, key: Any, algorithms: list[str]) -> dict[str, Any]:
        return jwt.decode(
            token,
            key,
            algorithms,
            options=cast("Options", {**_OFF, "verify_aud": bool(self.audience), "verify_iss": bool(self.issuer)}),
            audience=self.audience or None,
            issuer=self.issuer or None,
        )

    def _check_body(self, claims: dict[str, Any], body: bytes) -> None:
        given = claims.get(self.body_claim)
        if not isinstance(given, str):
            raise BadSignature(f"the token has no claim {self.body_claim!r} with the SHA-256 of the body")
        if not is_sha256(given.lower(), body):
            raise BadSignature(f"the claim {self.body_claim!r} is not the SHA-256 of the body")


def _check_times(claims: dict[str, Any], now: float, max_age: float) -> float | None:
    """Issue time of a token, None if it has none; raises `BadSignature` if the token is not valid at the time `now`."""
    expires, begins, issued = (_seconds(claims, name) for name in ("exp", "nbf", "iat"))
    if expires is not None and now > expires + LEEWAY_S:
        raise BadSignature(f"the token expired {now - expires:.0f} seconds ago")
    for moment in (begins, issued):
        if moment is not None and moment > now + LEEWAY_S:
            raise BadSignature(f"the token is not valid for another {moment - now:.0f} seconds")
    if expires is None:
        if issued is None:
            raise BadSignature("the token has neither 'exp' nor 'iat', so that it would never expire")
        check_fresh(issued, now=now, max_age=max_age)
    return issued


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # An integer of JSON has any number of digits.
    with suppress(OverflowError):
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    raise BadSignature(f"the claim {name!r} is not a number of seconds")


def _keys(secret: str, kid: Any) -> Iterator[tuple[Any, list[str]]]:
    """Keys of a secret, each with its algorithms; omits those with a key id other than `kid`, unless that is None.

    Raises `ConfigError` if the secret is not a key.
    """
    try:
        if secret.lstrip().startswith("{"):
            document = json.loads(secret)
            keys = jwt.PyJWKSet.from_dict(document).keys if "keys" in document else [jwt.PyJWK.from_dict(document)]
            yield from (_of_jwk(key) for key in keys if kid in (None, key.key_id) or not key.key_id)
        elif secret.lstrip().startswith(PEM.decode()):
            key = load_public(secret.strip().encode())
            yield key, _algorithms_of(key)
        else:
            shared = secret.encode("utf-8", "surrogateescape")
            yield shared, _hmac_algorithms(shared)
    except WeakKey as error:
        raise ConfigError(f"a secret of jwt is a key that proves nothing: {error}") from None
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError, jwt.PyJWTError):
        # PyJWT and json raise any of these for a malformed JWK. Their texts may contain the key, so none is quoted.
        raise ConfigError("a secret of jwt must be a shared key, a public key in PEM, a JWK or a JWK set") from None


def _of_jwk(key: jwt.PyJWK) -> tuple[Any, list[str]]:
    """Key and algorithm of a JWK; raises `ValueError` if it is a private key, or not one for its algorithm."""
    allowed = _hmac_algorithms(key.key) if isinstance(key.key, bytes) else _algorithms_of(key.key)
    if hasattr(key.key, "private_bytes") or key.algorithm_name not in allowed:
        raise ValueError("not a key to verify with")
    return key.key, [key.algorithm_name]


def _signing_key(secret: str) -> tuple[Any, str]:
    if secret.lstrip().startswith(PEM.decode()):
        key = load_private(secret.strip().encode())
        return key, _algorithms_of(key)[0]
    shared = secret.encode("utf-8", "surrogateescape")
    return shared, _hmac_algorithms(shared)[0]


def _hmac_algorithms(key: bytes) -> list[str]:
    check_shared(key)
    algorithms = [name for name, least in _HMAC.items() if len(key) >= least]
    if not algorithms:
        raise ConfigError(f"a shared key for a JWT must have at least {min(_HMAC.values())} bytes, not {len(key)}")
    return algorithms


def _algorithms_of(key: object) -> list[str]:
    check_public(key)
    if isinstance(key, RSAPublicKey | RSAPrivateKey):
        return list(_RSA)
    if isinstance(key, EllipticCurvePublicKey | EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return [_CURVES[key.curve.name]]
    if isinstance(key, Ed25519PublicKey | Ed25519PrivateKey):
        return ["EdDSA"]
    raise ValueError(f"not a key for a JWT: {type(key).__name__}")
