"""What the tokens of a session do not open, the page says, and takes another one; and what broke off is tried again."""

import re

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from support.browser import Complaints, needs_chromium, sign_in
from support.console_hub import ConsoleHub

pytestmark = [pytest.mark.slow, needs_chromium]


def add_token(page: Page, hub: ConsoleHub, path: str) -> None:
    page.get_by_role("dialog").get_by_role("link", name="Add a token").click()
    page.get_by_label("Token or URL").fill(hub.token(path))
    page.get_by_label("Path that").fill(path)
    page.get_by_role("button", name="Add a token").click()


def deliver_all(console: Page, topic: str) -> Locator:
    """The dialog with the progress of what a topic has, delivered again."""
    console.locator("#filters [name=topic]").fill(topic)
    console.get_by_role("button", name="Deliver all").click()
    dialog = console.get_by_role("dialog")
    dialog.get_by_role("button", name="Deliver all").click()
    dialog.get_by_role("button", name="Really").click()
    return dialog


def test_a_message_says_which_token_is_missing_and_comes_back_with_it(page: Page, hub: ConsoleHub) -> None:
    id = hub.publish("orders/1")
    sign_in(page, hub.url, hub.token("/sub/orders/"), path="/sub/orders/")
    page.goto(f"{hub.url}/hookbot/messages/{id}")
    page.get_by_role("button", name="Deliver again").click()
    expect(page.get_by_role("dialog")).to_contain_text("takes a token for /pub/orders/1")
    expect(page.get_by_role("dialog").get_by_role("button", name="Deliver again")).to_be_disabled()

    add_token(page, hub, "/pub/orders/")
    expect(page).to_have_url(re.compile(f"/messages/{id}$"))
    page.get_by_role("button", name="Deliver again").click()
    page.get_by_role("dialog").get_by_role("button", name="Deliver again").click()

    expect(page.get_by_text("Delivered again:")).to_be_visible()


def test_a_filter_says_which_token_is_missing(page: Page, hub: ConsoleHub, complaints: Complaints) -> None:
    hub.publish("orders/1")
    sign_in(page, hub.url, hub.token("/sub/"), path="/sub/")
    page.locator("#filters [name=topic]").fill("orders/")
    page.get_by_role("button", name="Deliver all").click()
    expect(page.get_by_role("dialog")).to_contain_text("takes a token for '/pub/orders/1'")
    complaints.expected("403")

    add_token(page, hub, "/pub/orders/")
    page.get_by_role("button", name="Deliver all").click()

    expect(page.get_by_role("dialog")).to_contain_text("1 message")


def test_what_broke_off_is_tried_again_and_nothing_is_published_twice(
    console: Page, hub: ConsoleHub, complaints: Complaints
) -> None:
    for number in range(3):
        hub.publish(f"orders/{number}")
    broken: list[str] = []

    def break_off(route: Route) -> None:
        if "count=only" in route.request.url or broken:
            return route.continue_()
        broken.append(route.fetch().text())
        return route.abort()

    console.route(re.compile("/v1/redeliver"), break_off)
    dialog = deliver_all(console, "orders/")
    expect(dialog).to_contain_text("Stopped after 0 messages")
    dialog.get_by_role("button", name="Try again").click()

    expect(dialog).to_contain_text("Delivered 3 messages.")
    assert '"done":3' in broken[0]
    stored = hub.get("/hookbot/v1/messages?topic=orders/", hub.token("/")).json()["messages"]
    assert len(stored) == 6
    complaints.expected("ERR_FAILED")


def test_more_than_are_delivered_at_once_are_offered(console: Page, hub: ConsoleHub) -> None:
    first, second = hub.publish("orders/1"), hub.publish("orders/2")

    def leave_some(route: Route) -> None:
        if f"from={second}" in route.request.url or "count=only" in route.request.url:
            return route.continue_()
        lines = f'{{"type": "progress", "done": 1, "of": null}}\n{{"type": "done", "done": 1, "next": "{second}"}}\n'
        return route.fulfill(body=lines, content_type="application/x-ndjson")

    console.route(re.compile("/v1/redeliver"), leave_some)
    dialog = deliver_all(console, "orders/")
    expect(dialog).to_contain_text("Delivered 1 message. There are more.")
    dialog.get_by_role("button", name="Go on").click()

    expect(dialog).to_contain_text("Delivered 2 messages.")
    stored = hub.get("/hookbot/v1/messages?topic=orders/", hub.token("/")).json()["messages"]
    assert [one.get("replay_of") for one in stored] == [second, None, None]
    assert stored[-1]["id"] == first
