"""docs/operations.md: the lines of the log are as it shows them, and it describes each field and each act."""

import ast
import json
import logging
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import hookbot
from hookbot.access.refusals import MAX_REFUSALS
from hookbot.hub.lifetime import Lifetime
from hookbot.hub.logging_setup import JsonFormatter, TextFormatter, fields_of
from hookbot.protocol.request import Request
from hookbot.web.access_log import log_request
from hookbot.web.api.bulk import LOGGED
from support.hubs import configured, open_whole_hub
from support.pages import blocks, page, section

PAGE = page("docs/operations.md")
READ, WHO = section(PAGE, "Read the log"), section(PAGE, "See who did what")
TREES = [ast.parse(path.read_text()) for path in Path(hookbot.__file__).parent.rglob("*.py")]
CALLS = [node for tree in TREES for node in ast.walk(tree) if isinstance(node, ast.Call)]
LEVELS = {"debug", "info", "warning", "error", "exception", "log"}


def name_of(call: ast.Call) -> str:
    """The name of the function that is called, without what it belongs to."""
    return getattr(call.func, "attr", "") or getattr(call.func, "id", "")


def templates() -> Iterator[str]:
    """The template of each line of the log that is written in the source."""
    for call in CALLS:
        if (
            name_of(call) in LEVELS
            and isinstance(call.func, ast.Attribute)
            and ast.unparse(call.func.value) == "logger"
        ):
            yield from (one.value for one in call.args if isinstance(one, ast.Constant) and isinstance(one.value, str))


def acts() -> Iterator[ast.Call]:
    """The calls that log what an operator has done, with its sentence."""
    return (
        call
        for call in CALLS
        if name_of(call) == "audit" and call.args and isinstance(call.args[0], ast.Constant | ast.JoinedStr)
    )


def test_no_line_has_a_value_as_python_writes_it() -> None:
    found = list(templates())
    assert len(found) > 50
    assert [template for template in found if re.search(r"%[-.\d]*[ra]", template)] == []


def test_each_act_is_described() -> None:
    told = [ast.unparse(call.args[0]).strip("f'\"").replace("{kind}", "cursor") for call in acts()]
    subjects, verbs = zip(*(re.split(r" (?:was|were) ", act) for act in told), strict=True)
    assert len(told) > 5
    assert [word for word in (*subjects, *verbs) if word not in WHO] == []


def test_each_field_of_an_act_is_described() -> None:
    fields = {keyword.arg for call in acts() for keyword in call.keywords if keyword.arg}
    assert {"by", "client"} <= fields
    assert [field for field in (*fields, *LOGGED) if f"`{field}`" not in READ + WHO] == []


async def lines(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """What a hub with GitHub's router logs as it starts, refuses a delivery and stops."""
    caplog.set_level(logging.INFO, "hookbot")
    headers = {
        "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    secret = configured(tmp_path).key
    with Lifetime() as lifetime:
        lifetime.begin()
        async with open_whole_hub(tmp_path, routers=("github",), github_secrets=(secret,)) as hub:
            await hub.post("/unsafe/pub/github.com/org/acme", b"{}", headers.items())
        lifetime.end_by(signal.SIGTERM)
    return [record for record in caplog.records if record.name in ("hookbot.hub", "hookbot.access")]


def shape(line: str) -> tuple[str, list[str]]:
    """Level, logger and sentence of a line, and the names of its fields."""
    sentence, *rest = re.split(r" (?=\w+=)", re.sub(r"^\S+ \S+ ", "", line))
    return sentence, [field.partition("=")[0] for field in rest]


async def test_lines_of_text_are_as_they_are_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    formatter = TextFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    printed = list(map(formatter.format, await lines(tmp_path, caplog)))
    [shown] = blocks(READ, "text")

    assert [shape(line) for line in shown.splitlines()] == [shape(line) for line in printed]


async def test_a_line_of_json_is_as_it_is_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, refused, _ = await lines(tmp_path, caplog)
    printed: dict[str, Any] = json.loads(JsonFormatter().format(refused))
    [shown] = blocks(READ, "json")

    assert list(json.loads(shown)) == list(printed)
    assert [name for name in fields_of(refused) if f"`{name}`" not in READ] == []


def test_each_field_of_the_access_log_is_described(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookbot.access_log")
    log_request(Request("GET", b"/", ()), 200, 3, 0.0, "abc-1")
    assert [name for name in fields_of(caplog.records[0]) if f"`{name}`" not in READ] == []


def test_numbers_are_those_of_the_code() -> None:
    assert MAX_REFUSALS == 1000
    assert "the newest thousand refusals" in " ".join(READ.split())
