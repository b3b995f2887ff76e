"""A new router as a package that installs, passes its tests and runs: the start of one's own."""

import re
from pathlib import Path

from ..errors import ConfigError

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


def write_new_router(name: str, directory: Path) -> list[Path]:
    """Write the package of a router `name` into `directory`, which must be new or empty; the files written.

    Raises `ConfigError` for a name or a directory that will not do.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a router's name is of lower-case letters, digits and single dashes, not {name!r}")
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ConfigError(f"{directory} is there already, and not empty")
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
        raise ConfigError(f"{path} cannot be written: {error}") from None
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

Post something to it, and see where it goes:

    hookbot listen "$(hookbot make-tokens /sub/NAME-kind/)"
    curl --data '{"kind": "hello"}' "$(hookbot make-tokens /pub/NAME/try)"

Options, in `[routers.NAME]` of the configuration: `kinds = ["hello"]`, to publish only these.
"""

_ROUTER = '''\
"""Rebroadcast what comes to ``NAME/`` as one topic for each kind."""

from collections.abc import Sequence

from hookbot import Message, Publish


class CLASS:
    """Passes each message on to ``NAME-kind/KIND``, whole."""

    name = "NAME"
    topics = ("NAME/",)

    def __init__(self, kinds: Sequence[str] = ()) -> None:
        """`kinds`: only these; none means all."""
        self.kinds = kinds

    async def route(self, message: Message, publish: Publish) -> None:
        """Publish one message on the topic of its kind."""
        kind = message.json()["kind"]
        if not self.kinds or kind in self.kinds:
            await publish(f"NAME-kind/{kind}", message)
'''

_TEST = """\
import pytest
from hookbot.testing import open_test_hub, route
from MODULE import CLASS

BODY = b'{"kind": "hello"}'


async def test_a_message_goes_to_the_topic_of_its_kind():
    assert await route(CLASS(), "NAME/try", BODY) == [("NAME-kind/hello", BODY)]


async def test_other_kinds_can_be_left_out():
    assert await route(CLASS(kinds=["bye"]), "NAME/try", BODY) == []


async def test_what_has_no_kind_is_an_error():
    with pytest.raises(KeyError):
        await route(CLASS(), "NAME/try", b"{}")


async def test_it_runs_in_a_hub():
    async with open_test_hub(CLASS()) as hub:
        await hub.publish("NAME/try", BODY)
        [message] = await hub.wait_for("NAME-kind/hello")
    assert message.body == BODY
"""
