"""Loading of providers by name: those of hookbot's catalogue, then those of plugins.

A plugin's entry point (group ``hookbot.providers``) names a `Provider`. It is loaded only when it is used, and cannot
replace a provider of hookbot.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, did_you_mean
from .provider import Provider

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

GROUP = "hookbot.providers"


def provider_names() -> list[str]:
    """Names of all providers, sorted."""
    return sorted({*_catalogue(), *_plugins().names})


def load_provider(name: str, options: Mapping[str, Any] | None = None) -> Provider:
    """The provider `name` with some options set.

    Raises `ConfigError` for an unknown name or option, a wrong value, or a plugin that cannot be loaded.
    """
    return (own_provider(name) or _load_plugin(name)).with_options(options or {})


def own_provider(name: str) -> Provider | None:
    """The provider `name` of hookbot itself, or None."""
    return _catalogue().get(name)


def _catalogue() -> Mapping[str, Provider]:
    # It needs cryptography and PyJWT. A hub without sources does not, and starts without them.
    from .catalogue import PROVIDERS  # noqa: PLC0415

    return PROVIDERS


def _plugins() -> "EntryPoints":
    from importlib.metadata import entry_points  # noqa: PLC0415

    return entry_points(group=GROUP)


def _load_plugin(name: str) -> Provider:
    found = _plugins().select(name=name)
    if not found:
        names = provider_names()
        close = did_you_mean(name.strip().lower(), names) or f"choose one of {', '.join(names)}"
        raise ConfigError(f"unknown provider {name!r}; {close}")
    entry = next(iter(found))
    try:
        provider = entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the provider {name!r} cannot be loaded from {entry.value}: {error}") from None
    if not isinstance(provider, Provider):
        raise ConfigError(f"the provider {name!r} cannot be used: {entry.value} is not a Provider")
    # `verified` says which rule was used: a plugin must not pass for a provider of hookbot.
    return replace(provider, name=name)
