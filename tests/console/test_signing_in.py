"""Signing in and out: a token becomes a cookie that no script sees, and what it does not open is not shown."""

import re

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from support.browser import Complaints, needs_chromium, sign_in
from support.console_hub import ConsoleHub

pytestmark = [pytest.mark.slow, needs_chromium]

PAGES = ["", "listeners", "routers", "sources", "rates", "start", "messages/abcdefgh-000000000000001"]


@pytest.mark.parametrize("name", PAGES)
def test_whoever_has_not_signed_in_is_asked_to(page: Page, hub: ConsoleHub, name: str) -> None:
    page.goto(f"{hub.url}/hookbot/{name}")

    expect(page).to_have_url(re.compile("/hookbot/sign-in"))
    expect(page.get_by_label("Token or URL")).to_be_focused()


def test_a_browser_that_asks_for_nothing_is_led_to_the_console(page: Page, hub: ConsoleHub) -> None:
    page.goto(hub.url)

    expect(page).to_have_url(re.compile("/hookbot/sign-in"))


def test_the_session_is_a_narrowed_token_in_a_cookie_that_no_script_sees(
    console: Page, context: BrowserContext, hub: ConsoleHub
) -> None:
    [cookie] = context.cookies()

    assert cookie["httpOnly"]
    assert cookie["sameSite"] == "Strict"
    assert hub.token("/") not in cookie["value"]
    assert console.evaluate("document.cookie") == ""
    assert hub.token("/") not in console.url


def test_a_wrong_token_says_why_and_signs_nobody_in(
    page: Page, context: BrowserContext, hub: ConsoleHub, complaints: Complaints
) -> None:
    page.goto(f"{hub.url}/hookbot/")
    page.get_by_label("Token or URL").fill("0123456789abcdef0123456789abcdef01234567")
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("alert")).to_be_visible()
    assert context.cookies() == []
    complaints.expected("401")


def test_after_signing_out_nothing_is_shown(console: Page, context: BrowserContext, hub: ConsoleHub) -> None:
    console.get_by_role("button", name="Sign out").click()

    expect(console.get_by_label("Token or URL")).to_be_visible()
    assert context.cookies() == []
    console.goto(f"{hub.url}/hookbot/listeners")
    expect(console).to_have_url(re.compile("/hookbot/sign-in"))


def test_when_the_session_ends_the_page_asks_to_sign_in(
    console: Page, context: BrowserContext, hub: ConsoleHub, complaints: Complaints
) -> None:
    console.goto(f"{hub.url}/hookbot/listeners")
    expect(console.get_by_role("heading", name="Listeners")).to_be_visible()

    context.clear_cookies()

    expect(console).to_have_url(re.compile("/hookbot/sign-in"))
    complaints.expected("401")


@pytest.mark.parametrize("path", ["/sub/acme/", "/hookbot/v1/", "/"])
def test_a_token_for_a_part_signs_in(page: Page, hub: ConsoleHub, path: str) -> None:
    sign_in(page, hub.url, hub.token(path), path="" if path == "/" else path)

    expect(page.get_by_role("heading", name="Live")).to_be_attached()
