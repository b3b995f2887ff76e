"""The scheme of nearly all senders: a signature over a text that is composed of parts of the request.

A `Scheme` names the places of signature and parts (as in `places`), so that a sender is a few lines of data:

    Scheme(name="slack", header="X-Slack-Signature", prefix="v0=",
           timestamp="X-Slack-Request-Timestamp", template="v0:{timestamp}:{body}", ...)
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256

from ..errors import BadSignature, BodyTooLarge, ConfigError
from .algorithms import ALGORITHMS, Algorithm
from .encodings import DECODERS, ENCODERS
from .forms import fields_of, payload_of
from .places import alternatives, describe, is_in_body, is_in_head
from .provider import Proof, Provider
from .request import SignedRequest
from .templates import PLACEHOLDERS, Template, read_template
from .timestamps import MAX_AGE_S, UNITS, check_fresh, format_timestamp, parse_timestamp
from .weak_keys import PEM

# Further signatures are ignored, since comparing each costs CPU time. No sender has as many keys in rotation.
MAX_SIGNATURES = 16

# A common value of each part: a template that cannot be read in one way even with these is a mistake.
_SAMPLES = {"method": b"POST", "url": b"https://a/b", "id": b"c", **dict.fromkeys(("body", "payload", "form"), b"{}")}
_SAMPLE_S = 1_700_000_000
_PEM = PEM.decode()


@dataclass(frozen=True, kw_only=True)
class Scheme(Provider):
    """Declarative provider: the `template` that is signed, and the places of the signature and of the parts."""

    header: str = "X-Signature"
    """Place of the signature."""
    prefix: str = ""
    """Prefix of a signature; signatures without it, such as those of another version, are ignored."""
    separator: str = ""
    """Separator of several signatures in one header; if empty, there is only one."""
    algorithm: str = "hmac-sha256"
    encoding: str = "hex"
    template: str = "{body}"
    """The signed text. ``{payload}`` is the field of that name if the body is a form with no other, else the body.
    ``{form}`` is the names and values of all form fields, sorted and without duplicates; a body without is refused."""
    timestamp: str = ""
    """Place of the signing time, which must be signed: a part of the template, or a field of a signed JSON body."""
    unit: str = "s"
    id: str = ""
    """Place of a signed id of the delivery."""
    delivery: str = ""
    """Place of an unsigned id of the delivery."""
    key_prefix: str = ""
    """Optional prefix of secrets that is not part of the key; alternatives are separated by ``|``."""
    key_encoding: str = "text"
    max_age: float = MAX_AGE_S
    fallback: "Scheme | None" = None
    """Scheme for requests that have nothing at `header`."""

    def __post_init__(self) -> None:
        """Raise `ConfigError` if a field is invalid, or if the place of the time or the id is not signed."""
        self._one_of("algorithm", ALGORITHMS)
        self._one_of("encoding", ENCODERS)
        self._one_of("key_encoding", DECODERS)
        self._one_of("unit", UNITS)
        for place in filter(None, (self.header, self.timestamp, self.id, self.delivery)):
            alternatives(place)
        if not self._parts:
            raise ConfigError(f"the template {self.template!r} has no part of the request, such as {{body}}")
        if unknown := set(self._parts) - set(PLACEHOLDERS):
            raise ConfigError(f"the template has an unknown {{{unknown.pop()}}}; choose from {', '.join(PLACEHOLDERS)}")
        for part, place in (("timestamp", self.timestamp), ("id", self.id)):
            if part in self._parts and not place:
                raise ConfigError(f"the template has {{{part}}}, but the option {part} does not name its place")
            if place and part not in self._parts and not ("body" in self._parts and is_in_body(place)):
                raise ConfigError(f"the option {part} is set, but the template has no {{{part}}}, so it is not signed")
        try:
            self._template.fill([self._sample(part) for part in self._parts])
        except BadSignature as error:
            raise ConfigError(f"the template {self.template!r} would be signed in vain: {error}") from None

    @cached_property
    def covers(self) -> tuple[str, ...]:
        """The parts in the template, and time and id if they are in a signed body."""
        named = ("body" if part in ("payload", "form") else part for part in self._parts)
        return (*named, *(p for p in ("timestamp", "id") if getattr(self, p) and p not in self._parts))

    @property
    def options(self) -> tuple[str, ...]:
        """The bound on the age, if the time is signed."""
        return ("max_age",) if self.timestamp else ()

    @cached_property
    def parses_body(self) -> bool:
        """True if the signature is in the body, or signs what has to be read from the body."""
        read = (self.header, *(getattr(self, part) for part in ("timestamp", "id") if part in self._parts))
        return not {"form", "payload"}.isdisjoint(self._parts) or not all(map(is_in_head, read))

    @property
    def signed_in(self) -> tuple[str, ...]:
        """The places of signature and time, those of the fallback too. An id stays: it tells a repeat."""
        places = (place for places in (self.header, self.timestamp) if places for place in places.split("|"))
        return (*places, *(self.fallback.signed_in if self.fallback else ()))

    def check(self, secret: str) -> None:
        """Raise `ConfigError` if `secret` is not a key that can verify, or a copy of something else."""
        self.check_alone(_without(secret, self.key_prefix), self.prefix)
        key = self._key(secret)
        try:
            self._algorithm.check(key)
        except ValueError as error:
            raise self._unusable(error) from None

    def check_head(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> None:
        """Raise `BadSignature` if signature, time or id belong into the head, and are missing, malformed or too old."""
        if self.fallback and not request.find_all(self.header):
            self.fallback.check_head(request, secrets, now=now)
            return
        if is_in_head(self.header):
            request.found = self, self._signatures(request)
        if self.timestamp and is_in_head(self.timestamp):
            self._signed_at(request, now)
        if "id" in self._parts and is_in_head(self.id):
            request.need(self.id)

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Proof that one of the secrets signed the request and, if it has a time, within `max_age` seconds of `now`.

        Raises `BadSignature`, or `ConfigError` if a secret is unusable.
        """
        finder, signatures = request.found
        if finder is not self:
            if self.fallback and not request.find_all(self.header):
                return self.fallback.verify(request, secrets, now=now)
            signatures = self._signatures(request)
        content = self._content(request)
        # The signature first: time and id prove nothing before it is verified.
        key = self._matching(signatures, content, secrets)
        signed_at = self._signed_at(request, now) if self.timestamp else None
        fingerprint = sha256(content).hexdigest()
        replay_key = self._signed_id(request, fingerprint)
        # The fields of a form can be regrouped without changing the text, which therefore is accepted once.
        if not replay_key and (self.timestamp or ("form" in self._parts and request.form())):
            replay_key = fingerprint
        return Proof(key, fingerprint, signed_at, replay_key, self.delivery_of(request))

    def delivery_of(self, request: SignedRequest) -> str | None:
        """Value at the place `delivery`."""
        return request.first(self.delivery)

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request with its signature, the time, and a new id if the template needs one and the request has none."""
        if self.timestamp:
            request = request.put(self.timestamp, format_timestamp(now, self.unit))
        if "id" in self._parts and not request.find(self.id):
            request = request.put(self.id, f"msg_{sha256(str(now).encode() + request.body).hexdigest()[:24]}")
        content = self._content(request)
        try:
            signature = self._algorithm.sign(self._key(secret), content)
        except ValueError as error:
            raise ConfigError(
                f"{self.name} is signed with a private key for {self._algorithm.title}: {error}"
            ) from None
        value = self.prefix + ENCODERS[self.encoding](signature)
        # Time and signature share a header: the signature is appended to the time.
        if self.timestamp.startswith(f"{self.header}["):
            value = f"{request.need(self.header)}{self.separator}{value}"
        return request.put(self.header, value)

    def sign_anew(self, request: SignedRequest, secret: str, *, now: float, id: str) -> SignedRequest:
        """The request with a new signature wherever it had one, or else at the first place."""
        first, *others = self._rules()
        had = [rule for rule in (first, *others) if request.find_all(rule.header)]
        request = request.without(self.signed_in)
        for rule in had or [first]:
            if id and "id" in rule._parts and not request.find(rule.id):
                request = request.put(rule.id, id)
            request = rule.sign(request, secret, now=now)
        return request

    def value(self, part: str, request: SignedRequest) -> str | bytes:
        """Value of a placeholder of the template; raises `BadSignature` if the request lacks it."""
        match part:
            case "body":
                return request.body
            case "payload":
                return payload_of(request)
            case "form":
                return fields_of(request)
            case "method":
                return request.method
            case "url":
                return request.need_url()
        return request.need(self.timestamp if part == "timestamp" else self.id)

    def _rules(self) -> Iterator["Scheme"]:
        """The scheme with each of alternative places of the signature, then those of the fallback.

        If time and id have as many, the first of each belong together, and so on.
        """
        headers, timestamps, ids = (place.split("|") for place in (self.header, self.timestamp, self.id))
        for number, header in enumerate(headers):
            timestamp = timestamps[number] if len(timestamps) == len(headers) else self.timestamp
            id = ids[number] if len(ids) == len(headers) else self.id
            yield replace(self, header=header, timestamp=timestamp, id=id)
        if self.fallback:
            yield from self.fallback._rules()

    @cached_property
    def _algorithm(self) -> Algorithm:
        return ALGORITHMS[self.algorithm]

    @property
    def _parts(self) -> tuple[str, ...]:
        return self._template.parts

    @cached_property
    def _template(self) -> Template:
        return read_template(self.template)

    def _sample(self, part: str) -> bytes:
        return _SAMPLES.get(part) or format_timestamp(_SAMPLE_S, self.unit).encode()

    def _one_of(self, option: str, known: Collection[str]) -> None:
        if getattr(self, option) not in known:
            raise ConfigError(f"the option {option} must be one of {', '.join(known)}, not {getattr(self, option)!r}")

    def _signatures(self, request: SignedRequest) -> list[bytes]:
        values = (request.find_all(self.header) if self.header.endswith("*") else None) or [request.need(self.header)]
        if self.separator:
            values = [item for value in values for item in value.split(self.separator)]
        items = [item.removeprefix(self.prefix) for item in map(str.strip, values) if item.startswith(self.prefix)]
        if not any(items):
            raise BadSignature(f"{describe(self.header)} has no signature of the form {self.prefix}<{self.encoding}>")
        signatures = [self._decode(item) for item in items[:MAX_SIGNATURES]]
        if not any(map(self._algorithm.has_form, signatures)):
            where, size = describe(self.header), len(signatures[0])
            raise BadSignature(f"the signature in {where} is not the {self._algorithm.title} of anything: {size} bytes")
        return signatures

    def _decode(self, item: str) -> bytes:
        try:
            return DECODERS[self.encoding](item)
        except ValueError:
            raise BadSignature(f"the signature in {describe(self.header)} is not {self.encoding}") from None

    def _signed_at(self, request: SignedRequest, now: float) -> float:
        signed_at = parse_timestamp(request.need(self.timestamp), self.unit)
        check_fresh(signed_at, now=now, max_age=self.max_age)
        return signed_at

    def _signed_id(self, request: SignedRequest, fingerprint: str) -> str | None:
        """Id of a verified request, None if it has none; in a body that is too large to parse, its fingerprint."""
        try:
            return request.find(self.id) if self.id else None
        except BodyTooLarge:
            return fingerprint

    def _content(self, request: SignedRequest) -> bytes:
        values = [self.value(part, request) for part in self._parts]
        return self._template.fill(
            [value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass") for value in values]
        )

    def _matching(self, signatures: Sequence[bytes], content: bytes, secrets: Sequence[str]) -> int:
        for index, secret in enumerate(secrets):
            try:
                if self._algorithm.verify(self._key(secret), content, signatures):
                    return index
            except ValueError as error:
                raise self._unusable(error) from None
        raise BadSignature(
            f"the signature in {describe(self.header)} is not the {self._algorithm.title} of {self.template}, "
            f"here {len(content)} bytes with the SHA-256 {sha256(content).hexdigest()}"
        )

    def _key(self, secret: str) -> bytes:
        if secret.lstrip().startswith(_PEM):
            return secret.strip().encode()
        key = _without(secret, self.key_prefix) if self.key_prefix else secret
        try:
            return DECODERS[self.key_encoding](key)
        except ValueError:
            reason = f"a secret of {self.name} must be {self.key_encoding}, and this one is not"
        if any(prefix in key for prefix in self.key_prefix.split("|") if prefix):
            reason = f"a secret of {self.name} holds several: give each of them alone"
        raise ConfigError(reason)

    def _unusable(self, error: ValueError) -> ConfigError:
        return ConfigError(f"a secret of {self.name} must be a key for {self._algorithm.title}: {error}")


def _without(secret: str, prefixes: str) -> str:
    return next((secret.removeprefix(p) for p in prefixes.split("|") if secret.startswith(p)), secret)
