"""Each page, light and dark, wide and as narrow as a phone: axe-core finds nothing, and nothing scrolls sideways."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from support.browser import assert_accessible, assert_no_sideways_scroll, needs_chromium
from support.console_hub import ConsoleHub

pytestmark = [pytest.mark.slow, needs_chromium]

LONG = "a-topic-as-long-as-senders-make-them" * 5
# What each page shows when it has loaded.
LOADED = {
    "": "#rows tr",
    "listeners": "#listeners tbody tr",
    "routers": "#routers article",
    "sources": "#sources article",
    "rates": "#graphs svg",
    "start": "#first",
    "messages/ID": "article.message:not([aria-busy]) dl.headers",
}


@pytest.fixture
def busy(hub: ConsoleHub) -> Iterator[str]:
    """A hub with something of each kind; the id of a message."""
    hub.deliver("github", "github.com/org/acme")
    hub.deliver("github", "github.com/org/acme", b"no JSON")
    hub.deliver("stripe", "stripe/live", secret="another secret of the same length as ours")
    hub.post_unsafe(LONG, b"{}")
    body = {"list": list(range(300)), "text": "w" * 3000, "nested": {"a": [None, True, 1.5]}}
    id = hub.publish("orders/1", json.dumps(body).encode(), [("X-Long", "w" * 3000)])
    with (
        hub.listening("/sub/orders/?cursor=books"),
        hub.listening("/sub/?group=mailers"),
        hub.listening(f"/sub/{LONG}"),
    ):
        hub.publish("orders/2")
        yield id


def visit(page: Page, hub: ConsoleHub, name: str, id: str) -> None:
    page.goto(f"{hub.url}/hookbot/{name.replace('ID', id)}")
    expect(page.locator(LOADED[name]).first).to_be_visible()


@pytest.mark.parametrize("name", LOADED)
def test_axe_finds_nothing(console: Page, hub: ConsoleHub, busy: str, name: str) -> None:
    visit(console, hub, name, busy)

    assert_accessible(console)


@pytest.mark.parametrize("name", LOADED)
def test_a_phone_shows_it_whole(console: Page, hub: ConsoleHub, busy: str, name: str) -> None:
    console.set_viewport_size({"width": 360, "height": 740})
    visit(console, hub, name, busy)

    assert_no_sideways_scroll(console)
    assert_accessible(console)


def test_axe_finds_nothing_in_what_opens(console: Page, hub: ConsoleHub, busy: str) -> None:
    console.set_viewport_size({"width": 1400, "height": 900})
    visit(console, hub, "", busy)
    console.get_by_role("row", name="orders/1").get_by_role("link").click()
    expect(console.locator("article.message:not([aria-busy]) dl.headers")).to_be_visible()
    console.locator("#more summary").click()
    assert_accessible(console)

    console.get_by_role("button", name="Deliver again").click()
    expect(console.get_by_role("dialog")).to_be_visible()
    assert_accessible(console)
    console.keyboard.press("Escape")
    console.keyboard.press("?")
    expect(console.get_by_role("dialog", name="Keys")).to_be_visible()
    assert_accessible(console)


def test_axe_finds_nothing_where_people_sign_in(page: Page, hub: ConsoleHub) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{hub.url}/hookbot/")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()

    assert_no_sideways_scroll(page)
    assert_accessible(page)
