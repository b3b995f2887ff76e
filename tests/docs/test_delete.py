"""docs/operations.md: what should not have been sent is deleted by what the page shows."""

import pytest

from support.pages import blocks, lines_printed, lines_shown, page, section
from support.terminal import Terminal

pytestmark = pytest.mark.slow

PART = section(page("docs/operations.md"), "Delete what should not have been sent")
SENT = """echo 'password=correct-horse' | hookbot publish "$(hookbot make-tokens -U http://localhost:8080 /pub/deploy)"
echo 'password=another' | hookbot publish "$(hookbot make-tokens -U http://localhost:8080 /pub/deploy)"
"""


def test_what_should_not_have_been_sent_is_deleted(terminal: Terminal) -> None:
    terminal.serve()
    terminal.paste(SENT)

    output = terminal.paste("".join(blocks(PART)))
    left = terminal.paste("hookbot messages --url http://localhost:8080 --topic deploy --json | grep -c '\"id\"'\n")

    assert lines_shown(PART) - lines_printed(output) == set(), output
    assert left.splitlines()[-1] == "1", left
