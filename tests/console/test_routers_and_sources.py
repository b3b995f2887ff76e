"""Routers and sources: how they are, what failed or was refused and why, and trying again."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from support import SECRET
from support.browser import needs_chromium
from support.console_hub import ConsoleHub

pytestmark = [pytest.mark.slow, needs_chromium]


def visit(page: Page, hub: ConsoleHub, name: str, card: str) -> Locator:
    """A card on a page."""
    page.goto(f"{hub.url}/hookbot/{name}")
    return page.get_by_role("article").filter(has=page.get_by_role("heading", name=card))


def figure(card: Locator, name: str) -> Locator:
    return card.locator(f"dt:text-is('{name}') + dd")


def test_a_router_shows_what_it_does(console: Page, hub: ConsoleHub) -> None:
    card = visit(console, hub, "routers", "github")
    expect(card).to_contain_text("running")
    expect(card).to_contain_text("/unsafe/github.com/")

    hub.deliver("github", "github.com/org/acme")

    expect(figure(card, "routed")).to_have_text("1")
    expect(figure(card, "failed")).to_have_text("0")


def test_what_failed_in_a_router_is_shown_and_tried_again(console: Page, hub: ConsoleHub) -> None:
    card = visit(console, hub, "routers", "github")
    hub.deliver("github", "github.com/org/acme", b"no JSON")
    expect(figure(card, "failed")).to_have_text("1")

    card.get_by_text("Retry what failed").click()
    card.get_by_role("button", name=re.compile("^Retry [a-z]{8}-")).click()

    expect(card.get_by_text("Retried: ")).to_be_visible()
    expect(figure(card, "failed")).to_have_text("2")
    card.get_by_text("Retried: ").get_by_role("link").click()
    expect(console.get_by_role("heading", name="/unsafe/github.com/org/acme")).to_be_visible()


def test_all_that_failed_in_a_router_is_retried_once(console: Page, hub: ConsoleHub) -> None:
    card = visit(console, hub, "routers", "github")
    for n in range(3):
        hub.deliver("github", "github.com/org/acme", b"no JSON %d" % n)
    expect(figure(card, "failed")).to_have_text("3")

    card.get_by_text("Retry what failed").click()
    for failed, done in ("6", "Retried 3 messages."), ("9", "Retried 3 messages. 3 retried before."):
        card.get_by_role("button", name="Retry all").click()
        dialog = console.get_by_role("dialog")
        expect(dialog).to_contain_text(f"{int(failed) - 3} messages that failed")
        dialog.get_by_role("button", name="Retry all").click()
        dialog.get_by_role("button", name="Really").click()
        expect(console.get_by_role("dialog")).to_contain_text(done)
        console.get_by_role("dialog").get_by_role("button", name="Close").click()
        expect(figure(card, "failed")).to_have_text(failed)


def test_a_source_shows_what_it_accepted_and_why_it_refused(console: Page, hub: ConsoleHub) -> None:
    card = visit(console, hub, "sources", "stripe")
    expect(card).to_contain_text("/unsafe/stripe/")
    expect(card).to_contain_text("none yet")

    hub.deliver("stripe", "stripe/live")
    expect(figure(card, "accepted")).to_have_text("1")
    expect(card).to_contain_text("accepts")

    hub.deliver("stripe", "stripe/live", secret="another secret of the same length as ours")
    expect(figure(card, "refused")).to_have_text("1")
    expect(card).to_contain_text("signature")
    assert SECRET not in console.content()


def test_a_source_has_the_url_to_paste_at_the_sender(console: Page, hub: ConsoleHub) -> None:
    card = visit(console, hub, "sources", "stripe")

    card.get_by_role("button", name="Copy the URL").click()

    expect(console.get_by_text("Copied")).to_be_visible()
    assert console.evaluate("navigator.clipboard.readText()").startswith(f"{hub.url}/unsafe/pub/stripe/")


def test_a_test_is_signed_and_accepted(console: Page, hub: ConsoleHub) -> None:
    card = visit(console, hub, "sources", "stripe")

    card.get_by_role("button", name="Send a test").click()

    expect(figure(card, "accepted")).to_have_text("1")
    card.get_by_role("link", name="see the message").click()
    expect(console.get_by_label("Verdict")).to_contain_text("stripe")


def test_a_test_tells_of_a_chosen_event(console: Page, hub: ConsoleHub) -> None:
    card = visit(console, hub, "sources", "stripe")

    card.get_by_label("Event to send to /unsafe/stripe/").select_option("charge.refunded")
    card.get_by_role("button", name="Send a test").click()

    card.get_by_role("link", name="see the message").click()
    expect(console.get_by_role("article").get_by_text("charge.refunded").first).to_be_visible()


def test_rates_are_drawn_from_what_the_page_has_seen(console: Page, hub: ConsoleHub) -> None:
    console.goto(f"{hub.url}/hookbot/rates")
    published = console.get_by_role("article").filter(has=console.get_by_role("heading", name="Published"))
    expect(published.locator("path.stroke")).to_have_attribute("d", re.compile("M.*H"))

    hub.publish_many("flood", 500)

    expect(published).not_to_contain_text("at most 0")
    subscribers = console.get_by_role("article").filter(has=console.get_by_role("heading", name="Subscribers"))
    with hub.listening("/sub/x"):
        expect(subscribers.locator(".figure")).to_have_text("1")


def test_what_is_kept_stands_beside_the_rates(console: Page, hub: ConsoleHub) -> None:
    hub.publish_many("flood", 50)

    console.goto(f"{hub.url}/hookbot/rates")

    kept = console.get_by_role("article").filter(has=console.get_by_role("heading", name="Kept: all other topics"))
    expect(kept).to_contain_text(re.compile("Messages[0-9]"))
    expect(kept).to_contain_text("kept for 7 d")
    expect(console.get_by_role("heading", name="Kept: /unsafe/")).to_be_visible()


def test_quotas_are_shown_with_what_is_used_and_refused(console: Page, hub: ConsoleHub) -> None:
    for _ in range(3):
        hub.post("/pub/team/x", bytes(2048), token=hub.token("/pub/"))

    console.goto(f"{hub.url}/hookbot/rates")

    quotas = console.get_by_role("region", name="Quotas")
    expect(quotas.get_by_role("row", name="team/ publishes, 2/h")).to_contain_text(re.compile(" 2.*1"))
    # It leaks meanwhile.
    expect(quotas.get_by_role("row", name="team/ bytes, 10KB/h")).to_contain_text(re.compile(r"[34]\.\d KB"))
