"""Alerts in the console: told on each page, listed with the sources, and gone when they are resolved."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from playwright.sync_api import Page, expect

from hookbot.log.sqlite import open_sqlite_log
from support.alerts import fall_silent
from support.browser import needs_chromium
from support.console_hub import CONFIG, ConsoleHub, running_console_hub

pytestmark = [pytest.mark.slow, needs_chromium]

WATCHED = CONFIG.replace('provider = "stripe"', 'provider = "stripe"\nexpect_every = "1d"')


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ConsoleHub]:
    """A hub at which a source has just been told to be silent."""
    (tmp_path / "data").mkdir()
    trio.run(fall_silent, open_sqlite_log(tmp_path / "data"), "/unsafe/stripe/")
    with running_console_hub(tmp_path, config=WATCHED) as hub:
        yield hub


def test_an_alert_is_shown_on_the_first_page_and_with_its_source_until_it_is_heard(
    console: Page, hub: ConsoleHub
) -> None:
    link = console.get_by_role("navigation").get_by_role("link", name="Sources")
    expect(link).to_contain_text("1 alert")
    link.click()

    alerts = console.get_by_role("region", name="Alerts")
    expect(alerts.get_by_role("listitem")).to_contain_text("the source /unsafe/stripe/ is silent: nothing was accepted")
    card = console.get_by_role("article").filter(has=console.get_by_role("heading", name="stripe"))
    expect(card).to_contain_text("expected every 1d · silent since 2 d ago")

    hub.deliver("stripe", "stripe/live")

    expect(alerts).to_be_hidden()
    expect(card).to_contain_text("accepts")
    expect(card).not_to_contain_text("silent")
    expect(link).not_to_contain_text("alert")
