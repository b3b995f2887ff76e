"""Template of a router package, which installs, passes its tests and runs."""

import re
from pathlib import Path

from ..errors import ConfigError, system_reason

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


def write_new_router(name: str, directory: Path) -> list[Path]:
    """Write a package for the router `name` into a new or empty directory, and return the paths of its files.

    Raises `ConfigError` if the name is invalid, or if the directory is not empty or cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a router's name has lower-case letters, digits and single dashes, not {name!r}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} exists and is not an empty directory")
    module = f"hookbot_{name.replace('-', '_')}"
    words = {"NAME": name, "MODULE": module, "CLASS": "".join(part.capitalize() for part in name.split("-")) + "Router"}
    files = [
        ("pyproject.toml", _PYPROJECT),
        ("README.md", _README),
        (f"{module}.py", _ROUTER),
        (f"tests/test_{module}.py", _TEST),
    ]
    return [_write(directory / path, text, words) for path, text in files]


def _write(path: Path, text: str, words: dict[str, str]) -> Path:
    for word, value in words.items():
        text = text.replace(word, value)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {system_reason(error)}") from None
    return path


_PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "hookbot-NAME"
version = "0.1.0"
description = "A hookbot router"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["hookbot>=1,<2"]

[project.optional-dependencies]
test = ["pytest>=8", "pytest-trio>=0.8"]

[project.entry-points."hookbot.routers"]
NAME = "MODULE:CLASS"

[tool.hatch.build.targets.wheel]
only-include = ["MODULE.py"]

[tool.pytest.ini_options]
trio_mode = true
"""

_README = """\
# hookbot-NAME

A router for a hookbot hub. It reads `NAME/` and publishes each message on a topic for its kind.

    pip install -e '.[test]'
    pytest
    hookbot serve --router NAME

Publish a message, and see where it goes:

    hookbot listen "$(hookbot make-tokens /sub/NAME-kind/)"
    curl --data '{"kind": "hello"}' "$(hookbot make-tokens /pub/NAME/try)"

Options, in `[routers.NAME]` of the configuration: `kinds = ["hello"]` publishes only these kinds.
"""

_ROUTER = '''\
"""Router that publishes the messages beneath ``NAME/`` on a topic for each kind."""

from collections.abc import Sequence

from hookbot import Message, Publish


class CLASS:
    """Publishes each message beneath ``NAME/`` to ``NAME-kind/KIND``, unchanged."""

    name = "NAME"
    topics = ("NAME/",)

    def __init__(self, kinds: Sequence[str] = ()) -> None:
        """`kinds` are the kinds to publish; empty means all."""
        self.kinds = kinds

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish the message on the topic of its kind.

        Raises `ValueError` if it is not JSON or has no kind: the hub then publishes it to ``hookbot/failed/NAME``.
        """
        match message.json():
            case {"kind": str(kind)}:
                if not self.kinds or kind in self.kinds:
                    await publish(f"NAME-kind/{kind}", message)
            case _:
                raise ValueError("the message has no kind")
'''

_TEST = """\
import pytest
from hookbot.testing import open_test_hub, route
from MODULE import CLASS

BODY = b'{"kind": "hello"}'


async def test_a_message_goes_to_the_topic_of_its_kind() -> None:
    assert await route(CLASS(), "NAME/try", BODY) == [("NAME-kind/hello", BODY)]


async def test_other_kinds_can_be_left_out() -> None:
    assert await route(CLASS(kinds=["bye"]), "NAME/try", BODY) == []


@pytest.mark.parametrize("body", [b"{}", b"[]", b"null", b'{"kind": null}'])
async def test_what_has_no_kind_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="the message has no kind"):
        await route(CLASS(), "NAME/try", body)


async def test_it_runs_in_a_hub() -> None:
    async with open_test_hub(CLASS()) as hub:
        await hub.publish("NAME/try", BODY)
        [message] = await hub.wait_for("NAME-kind/hello")
    assert message.body == BODY
"""
