"""docs/commands.md: examples whose output depends on nothing else print what the page shows."""

import pytest

from support.pages import blocks, lines_printed, lines_shown, page, section
from support.terminal import Terminal, application

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


def test_messages_are_recorded_and_played(terminal: Terminal) -> None:
    urls, *_ = blocks(PAGE)
    [record], [play] = (blocks(section(PAGE, f"`{command}`")) for command in ("record", "play"))
    following, stored = record.splitlines(keepends=True)
    terminal.serve()
    terminal.paste(". .venv/bin/activate\n" + urls + "for body in 1 2; do curl -s -d $body $PUB; done\n")
    terminal.paste("printf '#!/bin/sh\\necho deployed\\n' > deploy.sh; chmod +x deploy.sh\n")

    recorded = terminal.paste(stored)
    terminal.start(following, "listening to ")
    terminal.read_until("\n")
    terminal.stop()
    with application(terminal.ports[3000]) as received:
        played = terminal.paste(play)

    for part, output in (("record", recorded), ("play", played)):
        assert lines_shown(section(PAGE, f"`{part}`")) - lines_printed(output) == set(), output
    assert [request.body for request in received] == [b"1", b"2"]
    assert played.count("deploy | deployed\n") == 2
