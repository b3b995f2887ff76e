"""What a sender made to do harm is shown as what it is, and a page that shows it still answers."""

import json

import pytest
from playwright.sync_api import Page, expect

from support.browser import needs_chromium
from support.console_hub import ConsoleHub

pytestmark = [pytest.mark.slow, needs_chromium]

HTML = "<img src=x onerror='hacked=1'><script>hacked=1</script></pre></textarea></title><svg onload=hacked=1>"
ANSI = "\x1b]0;title\x07\x1b[2J\x1b[31mred"
MARKS = "invoice\u202egpj.exe\u2066\u200b\ufeff"
HOSTILE = f"{HTML}{ANSI}{MARKS}{{{{7*7}}}}${{7*7}}"
SHOWN = HTML + "ESC]0;titleBELESC[2JESC[31mred" + "invoiceRLOgpj.exeLRIU+200BBOM" + "{{7*7}}${7*7}"
DEEP = b"[" * 100_000 + b"]" * 100_000
NESTED = b"[" * 999 + b"1," * 200_000
LARGE = json.dumps([{"id": number, "name": "x" * 80} for number in range(230_000)]).encode()


def answers(page: Page) -> None:
    """Check that the page still answers to a click."""
    page.get_by_role("button", name="Help", exact=True).click()
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.get_by_role("dialog", name="Keys").get_by_role("button", name="Close").click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def unharmed(page: Page) -> None:
    assert page.evaluate("window.hacked") is None
    assert page.locator("main script, main svg, main img[src='x']").count() == 0


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html",
        "application/json",
        "text/plain",
        "application/x-www-form-urlencoded",
        "image/svg+xml",
        f"text/x; {HTML}",
    ],
)
def test_a_body_of_html_escapes_and_marks_is_text(console: Page, hub: ConsoleHub, content_type: str) -> None:
    body = json.dumps({HOSTILE: HOSTILE}) if "json" in content_type else HOSTILE
    headers = [("Content-Type", content_type), ("X-Hostile", HTML), ("X-Marks", MARKS.encode().decode("latin-1"))]
    id = hub.publish("x", body.encode(), headers)
    console.get_by_role("row", name="x").get_by_role("link").click()

    message = console.locator("article.message:not([aria-busy])")
    expect(message).to_contain_text(HTML)
    expect(message.locator("dl.headers")).to_contain_text("invoiceRLOgpj.exe")
    for view in message.get_by_role("group", name="View").get_by_role("button").all():
        view.click()
    unharmed(console)

    console.goto(f"{hub.url}/hookbot/messages/{id}")
    expect(message).to_contain_text(HTML)
    unharmed(console)
    answers(console)


def test_a_text_shows_what_would_be_invisible(console: Page, hub: ConsoleHub) -> None:
    console.goto(f"{hub.url}/hookbot/messages/{hub.publish('x', HOSTILE.encode(), [('Content-Type', 'text/plain')])}")

    expect(console.locator(".body-view pre")).to_have_text(SHOWN)


def test_a_topic_of_html_and_marks_is_text_everywhere(console: Page, hub: ConsoleHub) -> None:
    topic = "<img src=x onerror=hacked=1>/\u202egpj\u2066"
    path = f"/unsafe/sub/{topic}"
    hub.post_unsafe(topic, b"{}")
    hub.post(f"/pub/{topic}", b"{}", token="wrong")

    expect(console.locator("#rows")).to_contain_text("<img src=x onerror=hacked=1>/RLOgpjLRI")
    unharmed(console)
    with hub.listening(f"{path}?cursor=c"):
        console.goto(f"{hub.url}/hookbot/listeners")
        expect(console.get_by_role("table")).to_contain_text("RLOgpjLRI")
        unharmed(console)
    console.goto(f"{hub.url}/hookbot/start")
    console.locator("#first").get_by_label("Topic").fill(topic)
    console.get_by_role("button", name="Make its URLs").click()
    expect(console.locator("#publish code").first).to_be_visible()
    unharmed(console)


@pytest.mark.parametrize("body", [DEEP, NESTED, LARGE], ids=["deep", "nested", "25 MB"])
def test_a_body_that_is_much_work_does_not_freeze_the_page(console: Page, hub: ConsoleHub, body: bytes) -> None:
    hub.publish("large", body, [("Content-Type", "application/json")])
    console.get_by_role("row", name="large").get_by_role("link").click()
    message = console.locator("article.message:not([aria-busy])")
    expect(message.get_by_role("heading", name="Body")).to_be_visible()

    for view in message.get_by_role("group", name="View").get_by_role("button").all():
        view.click()
        answers(console)
    assert console.locator("article.message *").count() < 10_000


def test_the_large_body_is_downloaded_whole(console: Page, hub: ConsoleHub) -> None:
    console.goto(f"{hub.url}/hookbot/messages/{hub.publish('large', LARGE)}")

    with console.expect_download() as download:
        console.get_by_role("link", name="Download").click()

    assert download.value.path().read_bytes() == LARGE


def test_an_answer_with_a_body_is_no_page(console: Page, hub: ConsoleHub) -> None:
    id = hub.publish("x", HTML.encode(), [("Content-Type", "text/html")])

    for path in ("/body", "/body?first=10"):
        answer = hub.get(f"/hookbot/v1/messages/{id}{path}", hub.token("/"))
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
