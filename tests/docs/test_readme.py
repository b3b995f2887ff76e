"""README.md and the tutorial: every example works as shown, pasted into an empty machine."""

import pytest

from support.pages import blocks, lines_printed, lines_shown, page, section
from support.terminal import Terminal, application

pytestmark = pytest.mark.slow

README = page("README.md")
TUTORIAL = page("docs/tutorial.md")
TUNNEL, PUBLISH_AND_LISTEN, FORWARD, EXEC, GITHUB = blocks(README)[2:]


def test_the_two_commands_come_first() -> None:
    assert blocks(README)[:2] == ["make run\n", "make test\n"]


def test_a_tunnel_leads_to_a_laptop(terminal: Terminal) -> None:
    terminal.serve()
    # Where the hub of `make run` is.
    terminal.paste("export HOOKBOT_URL_BASE=http://localhost:8080\n")

    with application(terminal.ports[3000]) as received:
        output = terminal.start(TUNNEL, "listening to ")
        url = next(line for line in output.splitlines() if "/unsafe/pub/tunnel/" in line)
        terminal.aside(f"curl -fsS -d 'hello, world' -H 'X-Signature: s' {url}\n")
        terminal.read_until(" 204 ")

    assert lines_shown(section(README, "Webhooks on your laptop")) - lines_printed(output) == set(), output
    assert [(request.body, request.headers["X-Signature"]) for request in received] == [(b"hello, world", "s")]


def test_the_tutorial_can_be_pasted_from_its_first_line_to_its_last(terminal: Terminal) -> None:
    output = "".join(terminal.paste(block) for block in blocks(TUTORIAL))

    assert lines_shown(TUTORIAL) - lines_printed(output) == set(), output


def test_what_is_published_as_readme_says_is_heard_as_it_says(terminal: Terminal) -> None:
    output = terminal.paste(PUBLISH_AND_LISTEN)

    assert lines_shown(section(README, "Publish and listen")) - lines_printed(output) == set(), output


def test_the_hub_of_make_run_may_still_run(terminal: Terminal) -> None:
    terminal.serve()

    output = terminal.paste(f"{PUBLISH_AND_LISTEN}wait %2\n")

    assert "'127.0.0.1:8080': Address already in use" in output
    assert lines_shown(section(README, "Publish and listen")) - lines_printed(output) == set(), output


def test_forward_and_exec_work_as_readme_shows_them(terminal: Terminal) -> None:
    terminal.paste(PUBLISH_AND_LISTEN)

    with application(terminal.ports[3000]) as received:
        terminal.start(FORWARD, "  deploy  204  ")
        terminal.stop()
    terminal.start(EXEC, "deploy | hello, world\n")

    assert [request.body for request in received] == [b"hello, world"]


def test_urls_of_repositories_are_made_where_the_key_is(terminal: Terminal) -> None:
    terminal.paste(PUBLISH_AND_LISTEN)

    output = terminal.paste(GITHUB)

    assert "@hub.example.com/sub/github.com/repo/acme/app\n" in output
    assert "@hub.example.com/sub/github.com/repo/acme/\n" in output
