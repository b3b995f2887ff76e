"""Live views: real commands in a real terminal, with a real hub and a real target."""

import re
from collections.abc import AsyncIterator

import pytest
import trio

from hookbot.testing import open_test_hub
from hookbot.testing.hub import TestHub
from support import GUARD_S
from support.ports import free_ports
from support.targets import target
from support.tmux import HOOKBOT, needs_tmux, terminal

pytestmark = [pytest.mark.slow, needs_tmux]

BODY = b'{"type": "invoice.paid", "by": "\xc3\xbc [bold]\\u001b[31m"}'
JSON = {"Content-Type": "application/json", "X-Evil": "\x1b]0;evil\x07"}


@pytest.fixture
async def hub() -> AsyncIterator[TestHub]:
    with trio.fail_after(GUARD_S):
        async with open_test_hub() as hub:
            yield hub


async def test_deliveries_are_listed_inspected_and_repeated(hub: TestHub) -> None:
    async with target((200, ("X-Answer", "yes"))) as server, terminal(height=40, URL=hub.url_for("/sub/shop/")) as pane:
        await pane.type(f"clear; {HOOKBOT} forward --live --cursor c --header 'X-Key: hidden-value' $URL {server.url}")
        await pane.until("listening to", "0 done", "Nothing has come yet.")
        await hub.publish("shop/eu", BODY, JSON)
        # To the last column.
        await pane.until("1 done", " 200 ", "invoice.paid", "shop/eu", f" {len(BODY)} B\n")

        await pane.press("Enter")
        of_request = '"by": "ü [bold]\\u001b[31m"', "X-Evil: \\x1b]0;evil\\x07"
        shown = await pane.until("Request", *of_request, "Response 200 OK", "X-Answer: yes", "because")
        assert "hidden-value" not in shown

        await pane.press("r")
        await server.arrived(2)
        await pane.until("  2  ")
        await pane.press("q")
        await pane.until("1 done", "204")
        await pane.press("q")
        await pane.until("ready>", without="invoice.paid")
        await pane.type("echo it ended with $?; stty -a")
        shown = await pane.until("it ended with 130", "ixon", "icanon", " echo ")
        assert "-echo " not in shown
        assert "-icanon" not in shown
    assert server.requests[0].all("Idempotency-Key")
    assert not server.requests[1].all("Idempotency-Key")


async def test_what_waits_for_its_next_attempt_can_have_it_at_once(hub: TestHub) -> None:
    later = (503, ("Retry-After", "3000"))
    async with target(later, later) as server, terminal(URL=hub.url_for("/sub/a")) as pane:
        await pane.type(f"clear; {HOOKBOT} forward --live $URL {server.url}")
        await pane.until("listening to")
        await hub.publish("a", b"1")
        await hub.publish("a", b"2")
        shown = await pane.until("503, again in", "0 done, 1 behind")
        assert re.search("again in [23][0-9][0-9] s", shown)

        await pane.press("R")
        await server.arrived(2)
        await pane.until("503, again in", "1 of them waited")
        await pane.press("r")
        assert await server.arrived(4) == [b"1", b"1", b"1", b"2"]
        await pane.until("2 done", without="503")
        await pane.press("R")
        await pane.until("none of them waited")


async def test_in_a_pause_messages_stay_at_the_hub(hub: TestHub) -> None:
    async with target() as server, terminal(URL=hub.url_for("/sub/a")) as pane:
        await pane.type(f"clear; {HOOKBOT} forward --live --cursor c $URL {server.url}")
        await pane.until("listening to", "p pause")
        await pane.press("p")
        await pane.until("PAUSED", "p go on")
        for _ in range(3):
            await hub.publish("a")
        # It had asked for one already.
        await pane.until("1 behind")
        assert server.requests == []

        await pane.press("Space")
        await server.arrived(3)
        await pane.until("3 done", without="PAUSED")


async def test_a_filter_leaves_what_matches(hub: TestHub) -> None:
    async with terminal(URL=hub.url_for("/sub/a/")) as pane:
        await pane.type(f"clear; {HOOKBOT} listen --live $URL")
        await pane.until("listening to")
        for name in ("one", "two"):
            await hub.publish(f"a/{name}", b"<%s>" % name.encode())
        shown = await pane.until("2 received", "a/one", "a/two")
        assert "again" not in shown

        await pane.press("/", "<", "T", "W")
        await pane.until("filter: <TW", "a/two", without="a/one")
        await pane.press("Enter", "Enter")
        await pane.until("<two>", "Request")
        await pane.press("Escape")
        await pane.until("filter: <TW", without="Request")
        await pane.press("Escape")
        await pane.until("a/one", "a/two", without="filter: <TW")


async def test_a_suspended_view_gives_the_terminal_back_and_comes_back(hub: TestHub) -> None:
    async with terminal(URL=hub.url_for("/sub/a")) as pane:
        await pane.type(f"clear; {HOOKBOT} listen --live $URL")
        await pane.until("listening to")
        await pane.press("C-z")
        await pane.until("Stopped", "ready>", without="0 received")
        await hub.publish("a")
        # In the background it goes on, and leaves the terminal alone.
        await pane.type("bg; echo background")
        await pane.until("\nbackground")
        await pane.type("fg")
        await pane.until("1 received", without="ready>")

        await pane.resize(60, 10)
        await pane.until("1 received", without="ready>")
        await pane.resize(200, 50)
        shown = await pane.until("1 received")
        assert len(shown.split("\n")) == 51
        await pane.press("C-l", "C-c")
        await pane.until("ready>", without="1 received")


async def test_a_view_is_there_before_the_hub_and_can_be_left(hub: TestHub) -> None:
    [port] = free_ports(1)
    async with terminal() as pane:
        await pane.type(f"clear; {HOOKBOT} listen --live http://t@127.0.0.1:{port}/sub/a")
        await pane.until("not listening to", "0 received")
        await pane.press("?")
        await pane.until("Keys", "suspend")
        await pane.press("q")
        await pane.until("Nothing has come yet.")
        await pane.press("q")
        await pane.until("ready>", without="Nothing has come yet.")


async def test_what_ends_the_command_is_told_when_the_terminal_is_back(hub: TestHub) -> None:
    async with target(500) as server, terminal(URL=hub.url_for("/sub/a")) as pane:
        await pane.type(f"clear; {HOOKBOT} forward --live --max-attempts 1 --dead-letter stop $URL {server.url}")
        await pane.until("listening to")
        await hub.publish("a")
        await pane.until("ready>", "hookbot: gives up on a", without="listening to")
        await pane.type("echo it ended with $?; stty -a")
        shown = await pane.until("it ended with 1", "ixon")
        assert "-echo " not in shown


async def test_the_terminal_is_given_back_whatever_ends_the_command(hub: TestHub) -> None:
    async with terminal(URL=hub.url_for("/sub/a")) as pane:
        for number, key in enumerate(("C-\\", "C-c")):
            await pane.type(f"clear; {HOOKBOT} listen --live $URL")
            await pane.until("0 received", "listening to")
            await pane.press(key)
            await pane.until("ready>", without="0 received")
            await pane.type(f"stty -a; echo the {number}th")
            shown = await pane.until(f"\nthe {number}th")
            assert "-icanon" not in shown
