"""Live: what comes appears, is filtered, waits while somebody reads, and what was refused says why."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from support.browser import Complaints, needs_chromium, wait_until_scrolled
from support.console_hub import ConsoleHub

pytestmark = [pytest.mark.slow, needs_chromium]

JSON = ("Content-Type", "application/json")


def topics(page: Page) -> Locator:
    """The topics in the list, newest first."""
    return page.locator("#rows .topic")


def pill(page: Page) -> Locator:
    """What says how much waits."""
    return page.locator("#pill")


def fill_filter(page: Page, name: str, value: str) -> None:
    if name in {"verdict", "provider", "event", "where"} and page.locator("#more").get_attribute("open") is None:
        page.locator("#more summary").click()
    field = page.locator(f"#filters [name={name}]")
    if name == "verdict":
        field.select_option(value)
    else:
        field.fill(value)


@pytest.fixture
def mixed(hub: ConsoleHub) -> None:
    """Messages of each verdict, of two providers, and what a router makes of one."""
    hub.deliver("github", "github.com/org/acme")
    hub.deliver("stripe", "stripe/live")
    hub.publish("orders/eu", b'{"order": 7, "state": "Paid"}', [JSON])
    hub.publish("orders/us", b'{"order": 8, "state": "open"}', [JSON, ("X-Trace", "zebra")])
    hub.publish("sensors/roof", b"3.5")
    hub.post_unsafe("wild/x", b"{}")


def test_what_comes_appears_on_top(console: Page, hub: ConsoleHub) -> None:
    hub.publish("orders/1")
    expect(topics(console)).to_have_text(["orders/1"])

    hub.publish("orders/2")

    expect(topics(console)).to_have_text(["orders/2", "orders/1"])


@pytest.mark.usefixtures("mixed")
def test_what_came_before_is_there(console: Page) -> None:
    expect(topics(console).first).to_have_text("/unsafe/wild/x")
    expect(topics(console).nth(1)).to_have_text("sensors/roof")
    expect(console.get_by_role("row", name="/unsafe/stripe/live")).to_contain_text("invoice.paid")
    expect(console.get_by_role("row", name="/unsafe/stripe/live")).to_contain_text("stripe")
    expect(console.get_by_role("row", name="sensors/roof")).to_contain_text("token")
    expect(console.get_by_role("row", name="/unsafe/wild/x")).to_contain_text("unverified")


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("topic", "orders/", ["orders/us", "orders/eu"]),
        ("topic", "orders/eu", ["orders/eu"]),
        ("topic", "/unsafe/", ["/unsafe/wild/x", "/unsafe/stripe/live", "/unsafe/github.com/org/acme"]),
        ("text", "zebra", ["orders/us"]),
        ("text", "paid", ["orders/eu", "/unsafe/stripe/live"]),
        ("verdict", "unverified", ["/unsafe/wild/x"]),
        ("provider", "stripe", ["/unsafe/stripe/live"]),
        ("event", "invoice.paid", ["/unsafe/stripe/live"]),
        ("where", "body.order == `8`", ["orders/us"]),
    ],
)
@pytest.mark.usefixtures("mixed")
def test_a_filter_shows_what_it_says(console: Page, name: str, value: str, found: list[str]) -> None:
    fill_filter(console, name, value)

    expect(topics(console)).to_have_text(found)


@pytest.mark.usefixtures("mixed")
def test_a_filter_also_holds_for_what_comes_and_can_be_cleared(console: Page, hub: ConsoleHub) -> None:
    fill_filter(console, "topic", "orders/")
    expect(topics(console)).to_have_text(["orders/us", "orders/eu"])

    hub.publish("sensors/door")
    hub.publish("orders/de")

    expect(topics(console)).to_have_text(["orders/de", "orders/us", "orders/eu"])
    console.get_by_role("button", name="Clear").click()
    expect(topics(console).nth(1)).to_have_text("sensors/door")


@pytest.mark.usefixtures("mixed")
def test_a_filter_is_in_the_address_where_no_server_sees_it(console: Page) -> None:
    fill_filter(console, "topic", "orders/")
    expect(topics(console)).to_have_count(2)

    console.reload()

    assert console.url.endswith("/hookbot/#topic=orders%2F")
    expect(topics(console)).to_have_text(["orders/us", "orders/eu"])


def test_an_expression_with_a_mistake_says_so(console: Page, complaints: Complaints) -> None:
    fill_filter(console, "where", "body.[")

    expect(console.get_by_role("alert")).to_contain_text("body.[")
    complaints.expected("400")


def test_the_list_waits_while_it_is_pointed_at(console: Page, hub: ConsoleHub) -> None:
    hub.publish("orders/1")
    topics(console).hover()

    hub.publish("orders/2")
    hub.publish("orders/3")

    expect(pill(console)).to_have_text("2 new")
    expect(topics(console)).to_have_text(["orders/1"])
    pill(console).click()
    expect(topics(console)).to_have_text(["orders/3", "orders/2", "orders/1"])
    expect(pill(console)).to_be_hidden()


def test_the_list_waits_while_it_is_scrolled(console: Page, hub: ConsoleHub) -> None:
    for number in range(60):
        hub.publish(f"orders/{number}")
    console.reload()
    expect(topics(console).first).to_have_text("orders/59")
    console.mouse.move(5, 5)
    console.mouse.wheel(0, 600)
    wait_until_scrolled(console, 100)

    hub.publish("orders/new")

    expect(pill(console)).to_have_text("1 new")
    console.evaluate("scrollTo(0, 0)")
    expect(topics(console).first).to_have_text("orders/new")


def test_older_messages_follow_without_a_hole(console: Page, hub: ConsoleHub) -> None:
    for number in range(120):
        hub.publish(f"orders/{number}")
    console.reload()
    expect(topics(console).first).to_have_text("orders/119")

    while console.get_by_role("button", name="Show older").is_visible():
        shown = topics(console).count()
        console.get_by_role("button", name="Show older").click()
        expect(topics(console).nth(shown)).to_be_attached()
        expect(console.locator("#older")).to_be_enabled()

    expect(topics(console)).to_have_text([f"orders/{number}" for number in reversed(range(120))])


def test_a_refused_request_says_who_and_why_and_nothing_secret(console: Page, hub: ConsoleHub) -> None:
    token = "0123456789abcdef0123456789abcdef01234567"
    hub.deliver("stripe", "stripe/live", secret="another secret of the same length as ours")
    hub.post("/pub/orders/eu", b"the body", token=token)

    # Before the list is clicked, for then it waits.
    expect(console.get_by_role("row", name="orders/eu")).to_contain_text("401")
    row = console.get_by_role("row", name="/unsafe/stripe/live")
    expect(row).to_contain_text("401")
    expect(row).to_contain_text("signature")
    row.get_by_role("button").click()
    expect(row).to_contain_text("127.0.0.1")
    shown = console.content()
    assert token not in shown
    assert "the body" not in shown


@pytest.mark.usefixtures("mixed")
def test_only_refused_requests_or_none_of_them(console: Page, hub: ConsoleHub) -> None:
    hub.deliver("stripe", "stripe/refused", secret="another secret of the same length as ours")
    expect(topics(console).first).to_have_text("/unsafe/stripe/refused")

    console.get_by_role("button", name="Refused", exact=True).click()
    expect(topics(console)).to_have_text(["/unsafe/stripe/refused"])
    hub.publish("orders/fr")
    hub.deliver("stripe", "stripe/again", secret="another secret of the same length as ours")
    expect(topics(console)).to_have_text(["/unsafe/stripe/again", "/unsafe/stripe/refused"])

    console.get_by_role("button", name="Accepted", exact=True).click()
    expect(topics(console).first).to_have_text("orders/fr")
    expect(console.get_by_text("/unsafe/stripe/refused")).to_have_count(0)


def test_a_flood_is_bounded_and_says_what_it_leaves_out(console: Page, hub: ConsoleHub) -> None:
    hub.publish("first")
    expect(topics(console)).to_have_text(["first"])

    hub.publish_many("flood", 3000)

    expect(console.get_by_role("row", name=re.compile("left out")).first).to_be_attached()
    hub.publish("last")
    expect(console.get_by_role("row", name="last").first).to_be_attached()
    assert console.locator("#rows tr").count() <= 500


def test_an_empty_hub_leads_to_the_first_message(console: Page) -> None:
    console.get_by_role("main").get_by_role("link", name="Send a first message").click()

    expect(console).to_have_url(re.compile("/hookbot/start$"))


def test_after_a_restart_of_the_hub_what_was_missed_is_there(
    console: Page, hub: ConsoleHub, complaints: Complaints
) -> None:
    hub.publish("orders/1")
    expect(topics(console)).to_have_text(["orders/1"])

    hub.stop()
    expect(console.locator("#connection")).to_have_text("lost")
    hub.start()
    hub.publish("orders/2")

    expect(console.locator("#connection")).to_have_text("connected")
    expect(topics(console)).to_have_text(["orders/2", "orders/1"])
    # Only of a connection that is refused, and the hub may be there again before the page tries.
    complaints.possible("Failed to load resource|ERR_")
