"""A browser, a hub, and somebody who has signed in at its console."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from support.browser import WAIT_MS, Complaints, running_browser, sign_in
from support.console_hub import ConsoleHub, running_console_hub

# In each test module: while Playwright is open, no other test of the process could run an event loop of asyncio.


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ConsoleHub]:
    with running_console_hub(tmp_path) as hub:
        yield hub


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(reduced_motion="reduce") as context:
        context.set_default_timeout(WAIT_MS)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        yield context


@pytest.fixture
def complaints(context: BrowserContext, hub: ConsoleHub) -> Iterator[Complaints]:
    """What goes wrong in any page fails the test in the end."""
    complaints = Complaints(context, hub.url)
    yield complaints
    complaints.check()


@pytest.fixture
def page(context: BrowserContext, complaints: Complaints) -> Page:
    """A page of somebody who has not signed in."""
    return context.new_page()


@pytest.fixture
def console(page: Page, hub: ConsoleHub) -> Page:
    """The live page of an operator."""
    sign_in(page, hub.url, hub.token("/"))
    return page
