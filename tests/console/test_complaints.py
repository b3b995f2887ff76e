"""The tests of the console fail for what goes wrong in a page."""

import pytest
from playwright.sync_api import BrowserContext, Page

from support.browser import Complaints, assert_accessible, assert_no_sideways_scroll, needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]

SITE = "http://site.example"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src *"
GOOD = "<!doctype html><html lang=en><title>Good</title><meta name=viewport content='width=device-width'><main><h1>Good"


def visit(context: BrowserContext, html: str, script: str = "", policy: str = POLICY) -> tuple[Page, Complaints]:
    """A page that somebody has opened, and the complaints."""
    context.route(
        f"{SITE}/page",
        lambda route: route.fulfill(body=html, headers={"Content-Security-Policy": policy}, content_type="text/html"),
    )
    context.route(f"{SITE}/script.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    context.route(f"{SITE}/broken", lambda route: route.fulfill(status=503))
    context.route(
        "http://elsewhere.example/", lambda route: route.fulfill(body="", headers={"Access-Control-Allow-Origin": "*"})
    )
    complaints = Complaints(context, SITE)
    page = context.new_page()
    page.goto(f"{SITE}/page", wait_until="networkidle")
    return page, complaints


def test_a_good_page_passes(context: BrowserContext) -> None:
    page, complaints = visit(context, f"{GOOD}<script src=script.js></script>", "document.title = 'Loaded'")

    assert page.title() == "Loaded"
    complaints.check()
    assert_accessible(page)
    assert_no_sideways_scroll(page)


@pytest.mark.parametrize(
    ("html", "script", "complaint"),
    [
        ("<script>alert(1)</script>", "", "Content Security Policy"),
        ("<p style='color: red'>", "", "Content Security Policy"),
        ("<img src='http://elsewhere.example/x.png'>", "", "Content Security Policy"),
        ("", "eval('1')", "Content Security Policy|unsafe-eval"),
        ("", "throw new Error('it broke')", "uncaught: .*it broke"),
        ("", "Promise.reject(new Error('it broke'))", "uncaught: .*it broke"),
        ("", "console.error('it broke')", "error: it broke"),
        ("", "fetch('/broken')", "503 for http://site.example/broken"),
        ("", "fetch('http://elsewhere.example/')", "asked elsewhere: http://elsewhere.example/"),
    ],
)
def test_what_goes_wrong_is_a_complaint(context: BrowserContext, html: str, script: str, complaint: str) -> None:
    _, complaints = visit(context, f"{GOOD}{html}<script src=script.js></script>", script)

    with pytest.raises(AssertionError):
        complaints.check()
    complaints.expected(complaint)


def test_an_input_without_a_label_is_found(context: BrowserContext) -> None:
    page, _ = visit(context, f"{GOOD}<input>")

    with pytest.raises(AssertionError, match="label"):
        assert_accessible(page)


def test_what_only_the_dark_cannot_be_read_in_is_found(context: BrowserContext) -> None:
    style = "<style>@media (prefers-color-scheme: dark) { html { background: black; color: #333 } }</style>"
    page, _ = visit(context, GOOD.replace("<main>", f"{style}<main>"), policy="style-src 'unsafe-inline'")

    with pytest.raises(AssertionError, match="dark: color-contrast"):
        assert_accessible(page)


def test_a_page_that_is_wider_than_its_window_is_found(context: BrowserContext) -> None:
    page, _ = visit(context, f"{GOOD}{'w' * 1000}")

    with pytest.raises(AssertionError, match="px too wide"):
        assert_no_sideways_scroll(page)
