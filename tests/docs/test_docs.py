"""The documentation names everything that there is."""

import inspect
from pathlib import Path

import pytest

import hookbot
from hookbot import errors
from hookbot.access.authorizer import Authorizer
from hookbot.access.control import AccessControl
from hookbot.broker.broker import open_broker
from hookbot.log.memory import MemoryLog
from hookbot.web.bodies import BodyBudget
from hookbot.web.held_bytes import HeldBytes
from hookbot.web.metrics import add_limits, hub_metrics
from hookbot.web.unauthenticated import UnauthenticatedConnections
from support import KEY

ROOT = Path(__file__).parents[2]
PAGES = {page.name: page.read_text() for page in (ROOT / "docs").glob("*.md")}
EVERYTHING = "".join(PAGES.values())
SOURCE = "".join(path.read_text() for path in (ROOT / "src").rglob("*.py"))


async def test_every_metric_is_documented() -> None:
    async with open_broker(MemoryLog()) as broker:
        access = AccessControl(Authorizer([KEY]), clock_us=lambda: 0)
        metrics = hub_metrics(broker, access, list)
        add_limits(metrics, BodyBudget(1, 1), HeldBytes(1), UnauthenticatedConnections())
        rendered = metrics.render().decode()

    names = {line.split()[2] for line in rendered.splitlines() if line.startswith("# TYPE")}
    missing = sorted(name for name in names if name not in PAGES["operations.md"])
    assert missing == [], "docs/operations.md has a table of all metrics, which lacks these"


def statuses() -> list[int]:
    classes = [value for value in vars(errors).values() if inspect.isclass(value)]
    return sorted({error.status for error in classes if issubclass(error, errors.HookbotError)})


@pytest.mark.parametrize("status", statuses())
def test_every_status_of_an_error_is_documented(status: int) -> None:
    assert str(status) in PAGES["protocol.md"] or status == 500, "docs/protocol.md describes each status"


@pytest.mark.parametrize("name", [name for name in hookbot.__all__ if name != "API_VERSION"])
def test_every_public_name_is_documented(name: str) -> None:
    assert name in EVERYTHING, "each name of `hookbot` is described on some page of docs/"


def test_every_page_can_be_found_from_readme() -> None:
    readme = (ROOT / "README.md").read_text()

    assert {name for name in PAGES if f"docs/{name}" not in readme} == set()


@pytest.mark.parametrize(
    "text",
    [
        "A token opens one path, or all paths beneath it: hookbot make-tokens makes one.",
        "Payload URL:   ",
        "a repeat is recognised by",
        "given up and kept in",
        "the dead-letter topic, as ",
        "listening to ",
        "no mistakes found",
        "storing messages",
        "succeeded after",
        "the certificate is valid until",
    ],
)
def test_what_a_page_shows_as_output_is_what_the_code_prints(text: str) -> None:
    assert text in SOURCE
    assert text in EVERYTHING
