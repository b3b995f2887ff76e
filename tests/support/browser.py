"""Debian's Chromium, driven by Playwright. Whatever goes wrong in a page is a complaint."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    WebError,
    expect,
    sync_playwright,
)

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")
# CI has it: there, a test that is skipped would be a hole that nobody sees.
needs_chromium = pytest.mark.skipif(CHROMIUM is None and "CI" not in os.environ, reason="needs chromium")

WAIT_MS = 20_000
"""How long a test waits for what happens at once, also on a busy machine."""
expect.set_options(timeout=WAIT_MS)


@contextmanager
def running_browser() -> Iterator[Browser]:
    """A browser without windows, until the block ends."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        try:
            yield browser
        finally:
            browser.close()


class Complaints:
    """What went wrong in the pages of a browser context: errors, violations of the policy, requests to elsewhere."""

    def __init__(self, context: BrowserContext, origin: str) -> None:
        self._context = context
        self._origin = origin
        self._found: list[str] = []
        context.on("console", self._said)
        context.on("weberror", self._raised)
        context.on("request", self._asked)
        context.on("response", self._answered)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning", "assert"}:
            self._found.append(f"{message.type}: {message.text}")

    def _raised(self, error: WebError) -> None:
        self._found.append(f"uncaught: {error.error}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self._origin}/", "data:", "blob:")):
            self._found.append(f"asked elsewhere: {request.url}")

    def _answered(self, response: Response) -> None:
        if response.status >= 500:
            self._found.append(f"{response.status} for {response.url}")

    def expected(self, pattern: str) -> None:
        """Take back the complaints that match, of which there must be one."""
        assert self.possible(pattern), f"nobody complained of {pattern!r}: {self._found}"

    def possible(self, pattern: str) -> bool:
        """Take back the complaints that match, and tell if there were any."""
        self._hear()
        left = [complaint for complaint in self._found if not re.search(pattern, complaint)]
        were_any = left != self._found
        self._found = left
        return were_any

    def check(self) -> None:
        """Fail if there are any."""
        self._hear()
        assert not self._found, self._found

    def _hear(self) -> None:
        # What happened before is told before the answer.
        for page in self._context.pages:
            page.evaluate("null")


def assert_accessible(page: Page) -> None:
    """Fail with what axe-core finds, in light and in dark."""
    found = [
        f"{scheme}: {rule['id']}: {node['html']}: {node['failureSummary']}"
        for scheme in ("light", "dark")
        for rule in _violations(page, scheme)
        for node in rule["nodes"]
    ]
    assert not found, "\n".join(found)


def _violations(page: Page, scheme: Literal["light", "dark"]) -> list[dict[str, Any]]:
    page.emulate_media(color_scheme=scheme)
    found: list[dict[str, Any]] = Axe().run(page).response["violations"]
    return found


def assert_no_sideways_scroll(page: Page) -> None:
    """Fail if the page is wider than its window."""
    widest = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert widest == 0, f"{page.url} is {widest} px too wide"


def sign_in(page: Page, url: str, token: str, path: str = "") -> None:
    """Sign in at the console of a hub as people do, which leads to the live page; a plain token needs its path."""
    page.goto(f"{url}/hookbot/")
    page.get_by_label("Token or URL").fill(token)
    if path:
        page.get_by_label("Path that").fill(path)
    page.get_by_role("button", name="Sign in").click()
    # Only then do fields and keys do something.
    expect(page.locator("#rows tr, #nothing h2").first).to_be_attached()


def wait_until_scrolled(page: Page, pixels: int) -> None:
    """Wait until a page is scrolled down by more than so many pixels."""
    # Not by `wait_for_function`: what that evaluates a second time is forbidden by the policy of the page.
    while page.evaluate("scrollY") <= pixels:
        pass
