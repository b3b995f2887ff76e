"""A sender with two rules: what the secret looks like says which one it is for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import BadSignature, ConfigError
from .provider import Proof, Provider
from .request import SignedRequest


@dataclass(frozen=True, kw_only=True)
class Choice(Provider):
    """Each secret is tried by the first provider of `rules` whose prefix it has."""

    rules: tuple[tuple[str, Provider], ...]

    @property
    def covers(self) -> tuple[str, ...]:
        """What the first rule covers, the one to prefer."""
        return self.rules[0][1].covers

    @property
    def options(self) -> tuple[str, ...]:
        """Every option of one of the rules."""
        return tuple(dict.fromkeys(option for _, provider in self.rules for option in provider.options))

    @property
    def window_s(self) -> float:
        """That of the rule that takes the longest."""
        return max(provider.window_s for _, provider in self.rules)

    @property
    def secret_in(self) -> tuple[str, ...]:
        """Wherever one of the rules has its secret, whichever was used."""
        return tuple(place for _, provider in self.rules for place in provider.secret_in)

    def with_options(self, options: Mapping[str, Any]) -> "Choice":
        """The same choice, each rule with those of the options that it has; raises `ConfigError`."""
        if unknown := [name for name in options if name not in self.options]:
            raise ConfigError(f"{self.name} has no option {unknown[0]!r} (it has: {', '.join(self.options)})")
        return replace(self, rules=tuple((prefix, _set(provider, options)) for prefix, provider in self.rules))

    def check(self, secret: str) -> None:
        """Raises `ConfigError` if `secret` is none for the rule that its prefix chooses."""
        self._rule(secret).check(secret)

    def verify(self, request: SignedRequest, secrets: Sequence[str], *, now: float) -> Proof:
        """Raises `BadSignature`, the one of the first secret, unless one of the secrets fits by its rule."""
        refusals = []
        for index, secret in enumerate(secrets):
            try:
                proof = self._rule(secret).verify(request, [secret], now=now)
            except BadSignature as refusal:
                refusals.append(refusal)
            else:
                return replace(proof, key=index)
        raise refusals[0] if refusals else BadSignature("there is no secret to check with")

    def delivery_of(self, request: SignedRequest) -> str | None:
        """That of the first rule that finds one."""
        return next(filter(None, (provider.delivery_of(request) for _, provider in self.rules)), None)

    def sign(self, request: SignedRequest, secret: str, *, now: float) -> SignedRequest:
        """The request signed by the rule that the secret's prefix chooses."""
        return self._rule(secret).sign(request, secret, now=now)

    def _rule(self, secret: str) -> Provider:
        return next(provider for prefix, provider in self.rules if secret.startswith(prefix))


def _set(provider: Provider, options: Mapping[str, Any]) -> Provider:
    return provider.with_options({name: value for name, value in options.items() if name in provider.options})
