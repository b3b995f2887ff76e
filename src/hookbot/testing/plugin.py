"""Plugin of pytest: fixtures with a hub, and with a way to post a recording. pytest loads it by itself.

It imports nothing of the hub before a test asks for it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..routers import Router
    from .blocking import ThreadedHub
    from .playing import Response


@pytest.fixture
def hookbot_routers() -> "Sequence[Router]":
    """Routers that `hookbot_hub` runs: none, unless a test module or a conftest.py overrides this fixture."""
    return ()


@pytest.fixture
def hookbot_sources() -> Sequence[Mapping[str, Any]]:
    """Sources whose deliveries `hookbot_hub` verifies: none, unless a test module or a conftest.py overrides this."""
    return ()


@pytest.fixture
def hookbot_hub(
    hookbot_routers: "Sequence[Router]", hookbot_sources: Sequence[Mapping[str, Any]]
) -> "Iterator[ThreadedHub]":
    """A hub of its own for each test, in a thread: see `hookbot.testing.ThreadedHub`."""
    from .blocking import threaded_hub  # noqa: PLC0415

    with threaded_hub(*hookbot_routers, sources=hookbot_sources) as hub:
        yield hub


@pytest.fixture
def hookbot_play(request: pytest.FixtureRequest) -> "Callable[..., list[Response]]":
    """`hookbot.testing.play`, for which the path of a recording begins where the test is."""
    from .playing import play  # noqa: PLC0415

    def play_from_here(messages: Any, *given: Any, **options: Any) -> "list[Response]":
        return play(request.path.parent / messages if isinstance(messages, str) else messages, *given, **options)

    return play_from_here
