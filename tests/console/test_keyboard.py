"""The keyboard alone is enough, and arrows go on scrolling."""

import re

import pytest
from playwright.sync_api import Page, expect

from support.browser import needs_chromium, wait_until_scrolled
from support.console_hub import ConsoleHub

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def live(console: Page, hub: ConsoleHub) -> Page:
    """The live page with three messages."""
    console.set_viewport_size({"width": 1280, "height": 800})
    for number in range(3):
        hub.publish(f"orders/{number}", f'{{"order": {number}}}'.encode())
    expect(console.locator("#rows tr")).to_have_count(3)
    return console


def test_j_and_k_move_enter_opens_escape_closes(live: Page) -> None:
    live.keyboard.press("j")
    expect(live.get_by_role("link", name="orders/2")).to_be_focused()
    live.keyboard.press("j")
    live.keyboard.press("j")
    live.keyboard.press("k")
    expect(live.get_by_role("link", name="orders/1")).to_be_focused()

    live.keyboard.press("Enter")
    pane = live.get_by_role("complementary", name="Message")
    expect(pane).to_contain_text("orders/1")
    expect(live.get_by_role("row", name="orders/1")).to_have_attribute("aria-current", "true")

    live.keyboard.press("Escape")
    expect(pane).to_be_hidden()
    expect(live.get_by_role("link", name="orders/1")).to_be_focused()


def test_the_focus_stays_when_something_comes(live: Page, hub: ConsoleHub) -> None:
    live.keyboard.press("j")
    hub.publish("orders/3")
    expect(live.locator("#pill")).to_have_text("1 new")

    expect(live.get_by_role("link", name="orders/2")).to_be_focused()
    live.keyboard.press("Escape")
    expect(live.locator("#rows .topic").first).to_have_text("orders/3")


def test_a_slash_filters_and_typing_is_no_command(live: Page) -> None:
    live.keyboard.press("/")
    expect(live.locator("#filters [name=text]")).to_be_focused()

    live.keyboard.type("jkr?/")

    expect(live.locator("#filters [name=text]")).to_have_value("jkr?/")
    expect(live.get_by_role("dialog")).to_have_count(0)


def test_r_delivers_the_focused_message_again(live: Page) -> None:
    live.keyboard.press("j")
    live.keyboard.press("r")
    dialog = live.get_by_role("dialog")
    expect(dialog).to_contain_text("orders/2")
    dialog.get_by_role("button", name="Deliver again").press("Enter")

    expect(live.get_by_text("Delivered again:")).to_be_visible()


def test_a_question_mark_helps(live: Page) -> None:
    live.keyboard.press("?")
    expect(live.get_by_role("dialog", name="Keys")).to_be_visible()

    live.keyboard.press("Escape")

    expect(live.get_by_role("dialog")).to_have_count(0)


def test_arrows_go_on_scrolling(live: Page, hub: ConsoleHub) -> None:
    for number in range(60):
        hub.publish(f"more/{number}")
    live.reload()
    expect(live.locator("#rows tr")).to_have_count(50)

    live.keyboard.press("ArrowDown")
    live.keyboard.press("ArrowDown")

    wait_until_scrolled(live, 0)
    expect(live.locator("#rows :focus")).to_have_count(0)


def test_the_first_tab_skips_to_the_content(live: Page) -> None:
    live.keyboard.press("Tab")
    expect(live.get_by_role("link", name="Skip to the content")).to_be_focused()

    live.keyboard.press("Enter")

    expect(live.get_by_role("main")).to_be_focused()
    expect(live).to_have_url(re.compile("#main$|/hookbot/$"))
