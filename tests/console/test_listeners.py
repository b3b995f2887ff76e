"""Listeners: who listens, how far behind, and ending, moving and deleting it, asked twice."""

import json

import pytest
from playwright.sync_api import Locator, Page, expect
from websockets.exceptions import ConnectionClosed

from support import GUARD_S
from support.browser import needs_chromium
from support.console_hub import ConsoleHub, received

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def listeners(console: Page, hub: ConsoleHub) -> Page:
    """The page of an operator."""
    console.goto(f"{hub.url}/hookbot/listeners")
    return console


def row(page: Page, text: str) -> Locator:
    return page.get_by_role("table", name="Listeners").get_by_role("row").filter(has_text=text)


def test_before_anybody_listens_the_page_says_how_to_begin(listeners: Page) -> None:
    expect(listeners.get_by_text("Nobody listens yet")).to_be_visible()


def test_every_kind_of_listener_is_shown_as_it_comes_and_goes(listeners: Page, hub: ConsoleHub) -> None:
    with (
        hub.listening("/sub/plain/"),
        hub.listening("/sub/orders/?cursor=books"),
        hub.listening("/sub/orders/?group=mailers"),
        hub.listening("/sub/orders/?group=mailers"),
    ):
        expect(row(listeners, "/sub/plain/")).to_contain_text("127.0.0.1")
        expect(row(listeners, "books")).to_contain_text("connected")
        expect(row(listeners, "mailers")).to_contain_text("2 members")

    expect(row(listeners, "/sub/plain/")).to_have_count(0)
    expect(row(listeners, "books")).to_contain_text("away")


def test_who_is_behind_is_behind_by_its_own_messages(listeners: Page, hub: ConsoleHub) -> None:
    with hub.listening("/sub/orders/?cursor=books"):
        pass
    for number in range(3):
        hub.publish(f"orders/{number}")
        hub.publish(f"other/{number}")

    expect(row(listeners, "books").get_by_role("cell").nth(3)).to_contain_text("3")


def test_a_subscription_is_ended_after_it_was_asked_twice(listeners: Page, hub: ConsoleHub) -> None:
    with hub.listening("/sub/plain/") as listener:
        row(listeners, "/sub/plain/").get_by_role("button", name="End").click()
        dialog = listeners.get_by_role("dialog")
        dialog.get_by_role("button", name="End it").click()
        expect(dialog).to_be_visible()
        dialog.get_by_role("button", name="Really end it").click()

        with pytest.raises(ConnectionClosed):
            listener.recv(timeout=GUARD_S)
    expect(row(listeners, "/sub/plain/")).to_have_count(0)


def test_a_cursor_is_moved(listeners: Page, hub: ConsoleHub) -> None:
    hub.publish("orders/1")
    with hub.listening("/sub/orders/?cursor=books"):
        pass

    row(listeners, "books").get_by_role("button", name="Move").click()
    dialog = listeners.get_by_role("dialog")
    dialog.get_by_label("the oldest message").check()
    dialog.get_by_role("button", name="Move it").click()
    dialog.get_by_role("button", name="Really move it").click()
    expect(listeners.get_by_text("Moved books")).to_be_visible()

    with hub.listening("/sub/orders/?cursor=books") as listener:
        assert received(listener)["topic"] == "orders/1"


def test_a_cursor_is_deleted_by_who_types_its_name(listeners: Page, hub: ConsoleHub) -> None:
    with hub.listening("/sub/orders/?cursor=books"):
        pass

    row(listeners, "books").get_by_role("button", name="Delete").click()
    dialog = listeners.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Delete it")).to_be_disabled()
    dialog.get_by_label("Its name").fill("books")
    dialog.get_by_role("button", name="Delete it").click()

    expect(row(listeners, "books")).to_have_count(0)
    assert hub.get("/hookbot/v1/cursors", hub.token("/")).json()["cursors"] == []


def test_listeners_can_be_found(listeners: Page, hub: ConsoleHub) -> None:
    with hub.listening("/sub/orders/?cursor=books"), hub.listening("/sub/orders/?cursor=trucks"):
        expect(row(listeners, "trucks")).to_be_visible()

        listeners.get_by_label("Find a listener").fill("book")

        expect(row(listeners, "trucks")).to_have_count(0)
        expect(row(listeners, "books")).to_be_visible()


def test_what_was_acknowledged_is_no_longer_behind(listeners: Page, hub: ConsoleHub) -> None:
    with hub.listening("/sub/orders/?cursor=books") as listener:
        hub.publish("orders/1")
        frame = received(listener)
        expect(row(listeners, "books").get_by_role("cell").nth(3)).to_contain_text("1")

        listener.send(json.dumps({"type": "ack", "id": frame["id"]}))

        expect(row(listeners, "books").get_by_role("cell").nth(3)).to_contain_text("up to date")
