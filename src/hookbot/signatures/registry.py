"""Providers by name: those that come with hookbot, then those of plugins (entry point group ``hookbot.providers``).

A plugin's entry point names a `Provider`. It is loaded when it is asked for, and cannot take a name that is taken.
"""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from ..errors import ConfigError
from .catalogue import PROVIDERS
from .provider import Provider

GROUP = "hookbot.providers"


def provider_names() -> list[str]:
    """The names of all providers, sorted."""
    return sorted({*PROVIDERS, *entry_points(group=GROUP).names})


def load_provider(name: str, options: Mapping[str, Any] | None = None) -> Provider:
    """The provider `name` with options set; raises `ConfigError` for a name, option or value that is not known."""
    return (PROVIDERS.get(name) or _load_plugin(name)).with_options(options or {})


def _load_plugin(name: str) -> Provider:
    found = entry_points(group=GROUP, name=name)
    if not found:
        raise ConfigError(f"there is no provider {name!r}; there are {', '.join(provider_names())}")
    entry = next(iter(found))
    try:
        provider = entry.load()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"the provider {name!r} cannot be loaded from {entry.value}: {error}") from None
    if not isinstance(provider, Provider):
        raise ConfigError(f"the entry point {entry.value} of the provider {name!r} is not a Provider")
    return provider
