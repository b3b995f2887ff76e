"""Start: from an empty hub to the first message, and tokens that open less than that of the reader."""

import os
import subprocess

import pytest
from playwright.sync_api import Page, expect

from support import GUARD_S
from support.browser import Complaints, needs_chromium, sign_in
from support.console_hub import ConsoleHub

pytestmark = [pytest.mark.slow, needs_chromium]


@pytest.fixture
def start(console: Page, hub: ConsoleHub) -> Page:
    """The page of an operator."""
    console.goto(f"{hub.url}/hookbot/start")
    return console


def begin(page: Page, topic: str) -> None:
    page.locator("#first").get_by_label("Topic").fill(topic)
    page.get_by_role("button", name="Make its URLs").click()


def clipboard(page: Page) -> str:
    expect(page.get_by_text("Copied").first).to_be_visible()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_the_curl_line_that_is_copied_brings_the_first_message(start: Page) -> None:
    begin(start, "it's/a new one")
    start.locator("#publish").get_by_role("button", name="Copy the command").click()

    command = clipboard(start)
    assert command.startswith("curl ")
    subprocess.run(["bash", "-ec", command], check=True, timeout=GUARD_S, env={"PATH": os.environ["PATH"]})

    expect(start.locator("#arrival")).to_contain_text("it came")
    start.locator("#arrival").get_by_role("link", name="see the message").click()
    expect(start.get_by_role("heading", name="it's/a new one")).to_be_visible()
    expect(start.get_by_text("hello, world")).to_be_visible()


def test_the_first_message_can_be_sent_from_the_page(start: Page) -> None:
    begin(start, "hello")

    start.get_by_role("button", name="Send it from here").click()

    expect(start.locator("#arrival")).to_contain_text("it came")


def test_a_token_that_is_made_opens_its_path_and_no_other(start: Page, hub: ConsoleHub) -> None:
    made = start.locator("#more")
    made.get_by_label("It may").select_option("pub")
    made.get_by_label("Topic, or prefix/").fill("acme/")
    made.get_by_label("Name").fill("kiosk")
    made.get_by_role("button", name="Make it").click()
    start.locator("#made").get_by_role("button", name="Copy the URL").click()

    token = clipboard(start).partition("://")[2].partition("@")[0]
    assert hub.post("/pub/acme/1", b"", token=token).status_code == 200
    assert hub.post("/pub/other", b"", token=token).status_code == 401


def test_who_may_only_listen_makes_no_token_to_publish(page: Page, hub: ConsoleHub, complaints: Complaints) -> None:
    sign_in(page, hub.url, hub.token("/sub/acme/"), path="/sub/acme/")
    page.goto(f"{hub.url}/hookbot/start")
    expect(page.get_by_text("no token to publish")).to_be_visible()

    begin(page, "acme/1")

    expect(page.locator("#publish").get_by_role("alert")).to_be_visible()
    expect(page.locator("#listen")).to_contain_text("hookbot listen")
    complaints.expected("403")
