"""Messages are deleted after a question that says what goes, and what stays."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from support.browser import Complaints, needs_chromium, sign_in
from support.console_hub import ConsoleHub

pytestmark = [pytest.mark.slow, needs_chromium]


def topics(hub: ConsoleHub) -> list[str]:
    """Topics of the stored messages, the newest first."""
    return [message["topic"] for message in hub.get("/hookbot/v1/messages", hub.token("/")).json()["messages"]]


def redeliver(hub: ConsoleHub, id: str) -> None:
    hub.post(f"/hookbot/v1/messages/{id}/redeliver", token=hub.token("/")).raise_for_status()


def press_delete(page: Page) -> None:
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Really delete").click()


def test_a_message_is_deleted_with_its_copies(console: Page, hub: ConsoleHub) -> None:
    id = hub.publish("orders/1", b"s3cret")
    redeliver(hub, id)
    hub.publish("orders/2")
    console.goto(f"{hub.url}/hookbot/messages/{id}")
    console.get_by_role("button", name="Delete").click()
    expect(console.get_by_role("dialog")).to_contain_text("1 message of which")
    expect(console.get_by_role("dialog")).to_contain_text("Leave the 1 more")

    press_delete(console)

    expect(console.get_by_text("Deleted 2 messages")).to_be_visible()
    expect(console.get_by_role("heading", name="Deleted")).to_be_visible()
    assert topics(hub) == ["orders/2"]


def test_nothing_is_deleted_without_a_yes(console: Page, hub: ConsoleHub) -> None:
    id = hub.publish("orders/1")
    console.goto(f"{hub.url}/hookbot/messages/{id}")
    console.get_by_role("button", name="Delete").click()
    console.get_by_role("dialog").get_by_role("button", name="Delete").click()
    console.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(console.get_by_role("dialog")).to_have_count(0)

    assert topics(hub) == ["orders/1"]


def test_copies_can_stay(console: Page, hub: ConsoleHub) -> None:
    id = hub.publish("orders/1")
    redeliver(hub, id)
    console.goto(f"{hub.url}/hookbot/messages/{id}")
    console.get_by_role("button", name="Delete").click()
    console.get_by_role("dialog").get_by_role("checkbox").check()

    press_delete(console)

    expect(console.get_by_text("Deleted 1 message. 1 copy stays, on orders/1: with the same body.")).to_be_visible()
    assert topics(hub) == ["orders/1"]


def test_all_that_a_filter_shows_is_deleted_from_hub_and_list(console: Page, hub: ConsoleHub) -> None:
    for number in range(60):
        hub.publish(f"orders/{number}")
    hub.publish("other")
    expect(console.get_by_role("button", name="Delete all")).to_have_count(0)
    console.locator("#filters [name=topic]").fill("orders/")
    expect(console.locator("#rows .topic").first).to_have_text("orders/59")

    console.get_by_role("button", name="Delete all").click()
    expect(console.get_by_role("dialog")).to_contain_text("60 messages")
    press_delete(console)

    expect(console.get_by_text("Deleted 60 messages")).to_be_visible()
    expect(console.get_by_text("Nothing matches")).to_be_visible()
    assert topics(hub) == ["other"]


def test_who_may_only_listen_deletes_nothing(page: Page, hub: ConsoleHub, complaints: Complaints) -> None:
    id = hub.publish("orders/1")
    sign_in(page, hub.url, hub.token("/sub/orders/"), path="/sub/orders/")
    page.goto(f"{hub.url}/hookbot/messages/{id}")
    page.get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("takes a token for operators")
    expect(dialog.get_by_role("button", name="Delete")).to_be_disabled()
    complaints.expected("403")

    assert topics(hub) == ["orders/1"]


def test_what_breaks_off_is_told(console: Page, hub: ConsoleHub) -> None:
    id = hub.publish("orders/1")

    def break_off(route: Route) -> None:
        if route.request.method != "DELETE" or "count=only" in route.request.url:
            return route.continue_()
        return route.fulfill(body='{"type": "progress", "found": 2, "done": 1}\n', content_type="application/x-ndjson")

    console.route(re.compile("/v1/messages/"), break_off)
    console.goto(f"{hub.url}/hookbot/messages/{id}")
    console.get_by_role("button", name="Delete").click()
    press_delete(console)

    expect(console.get_by_text("Stopped after 1 message: the connection broke off")).to_be_visible()
