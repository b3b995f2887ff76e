"""docs/commands.md: examples whose output depends on nothing else print what the page shows."""

import pytest

from support.pages import blocks, lines_printed, lines_shown, page, section
from support.terminal import Terminal

pytestmark = pytest.mark.slow

PAGE = page("docs/commands.md")


@pytest.mark.parametrize("command", ["check-config", "make-tokens", "verify"])
def test_an_example_prints_what_the_page_shows(command: str, terminal: Terminal) -> None:
    part = section(PAGE, f"`{command}`")

    output = terminal.paste(". .venv/bin/activate; export HOOKBOT_KEY=s3cret\n" + "".join(blocks(part)))

    assert lines_shown(part) - lines_printed(output) == set(), output


def test_a_token_is_narrowed(terminal: Terminal) -> None:
    urls, *_ = blocks(PAGE)
    [narrow] = blocks(section(PAGE, "`narrow`"))

    output = terminal.paste(". .venv/bin/activate; export HOOKBOT_KEY=s3cret\n" + urls + narrow)

    assert output.startswith("ws://")
    assert output.endswith("@localhost:8080/sub/deploy\n")
