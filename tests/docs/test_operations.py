"""docs/operations.md: its table leads to every task, a test runs what each task shows, and each figure is there."""

import re
from pathlib import Path

import click
import pytest

from hookbot.cli.main import cli
from support.api import open_api
from support.commands import starting
from support.pages import blocks, lines_printed, lines_shown, page
from support.ports import free_ports
from support.terminal import Terminal

PAGE = page("docs/operations.md")
TABLE, *_ = PAGE.partition("\n## ")
TASKS = dict(re.findall(r"(?ms)^## (.*?)\n(.*?)(?=^## |\Z)", PAGE))
TESTS = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
FIGURES = [
    [cell.strip() for cell in row.split("|")] for row in re.findall(r"(?m)^\|(.*\?.*)\|$", TASKS["Find a figure"])
]


@pytest.mark.parametrize("title", [title for title in TASKS if title != "Where to go next"])
def test_the_table_leads_to_every_task(title: str) -> None:
    anchor = re.sub(r"[^\w ]", "", title.lower()).replace(" ", "-")

    assert f"](#{anchor})" in TABLE


@pytest.mark.parametrize("title", [title for title, text in TASKS.items() if "```" in text])
def test_a_test_runs_the_blocks_of_the_task(title: str) -> None:
    assert f'"{title}"' in TESTS, "a test of tests/docs/ takes all blocks of this section"


def command(words: str) -> click.Command | None:
    """The command of a line such as `hookbot cursors list`."""
    found: click.Command | None = cli
    for name in words.split()[1:]:
        assert isinstance(found, click.Group)
        found = found.get_command(click.Context(found), name)
    return found


async def test_each_figure_has_a_command_a_metric_a_path_and_a_page(tmp_path: Path) -> None:
    async with open_api(tmp_path) as hub:
        paths = (await hub.http.get("/hookbot/v1/openapi.json")).json()["paths"]

    assert len(FIGURES) > 5
    for _question, typed, metrics, path, shown in FIGURES:
        [words] = re.findall("`(.*)`", typed)
        names = re.findall("`(.*?)`", metrics)
        assert command(words), words
        assert names
        assert [name for name in names if not re.search(rf"`{name}[`{{]", page("docs/metrics.md"))] == []
        assert "get" in paths[path.strip("`")], path
        assert not shown or f"\n| {shown} | " in page("docs/console.md"), shown


@pytest.mark.slow
async def test_what_has_to_be_entered_at_github_is_what_a_hub_prints(tmp_path: Path) -> None:
    [shown] = blocks(TASKS["Receive GitHub webhooks"], "text")
    [port] = free_ports(1)

    async with starting() as start:
        hub = await start("serve", "--data-dir", tmp_path, "--bind", f"127.0.0.1:{port}", "--router", "github")
        await hub.until("Events:", "out")

    here = shown.replace("https://hub.example.com", f"http://127.0.0.1:{port}").replace(
        "/var/lib/hookbot", str(tmp_path)
    )
    printed = {line.strip() for line in hub.out.decode().splitlines()}
    assert set(here.splitlines()) - printed == set()


# Two messages, a publish without a token, and a cursor that has acknowledged both.
ARRIVED = """export HOOKBOT_URL_BASE=http://localhost:8080
for body in '{"order": "order-4711"}' '{"order": "order-4712"}'; do
    curl -s -d "$body" "$(hookbot make-tokens /pub/orders/eu)"
done
curl -s -d '{"order": "order-4710"}' http://localhost:8080/pub/orders/eu
hookbot listen --quiet --raw --since all --cursor books --limit 2 "$(hookbot make-tokens /sub/orders/)"
"""


@pytest.mark.slow
def test_whether_a_message_arrived_is_answered(terminal: Terminal) -> None:
    terminal.serve()
    terminal.paste(ARRIVED)
    part = TASKS["Answer: did it arrive?"]

    output = terminal.paste("".join(blocks(part)))

    assert lines_shown(part) - lines_printed(output) == set(), output
