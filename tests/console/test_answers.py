"""Answers of listeners: shown with their message, and harmless to a browser that is signed in here."""

from threading import Thread

import pytest
from playwright.sync_api import Browser, Page, expect

from hookbot.protocol.replies import Reply
from support.browser import WAIT_MS, needs_chromium, sign_in
from support.console_hub import ConsoleHub, received

pytestmark = [pytest.mark.slow, needs_chromium]

HACK = "hacked=1;fetch('/hookbot/v1/messages').then(answer=>answer.text()).then(text=>document.title=text)"
HOSTILE = f"<title>answer</title><p>shown</p><script>{HACK}</script><img src=x onerror='{HACK}'><svg onload='{HACK}'>"
HEADERS = (("Content-Type", "text/html"), ("X-Hostile", HOSTILE), ("Set-Cookie", "hacked=1"))


def answered(hub: ConsoleHub, reply: Reply) -> str:
    """The id of a message to which a listener has replied."""
    with hub.listening("/sub/cmd?reply") as listener:
        sender = Thread(target=hub.publish, args=["cmd"], kwargs={"query": "?reply"})
        sender.start()
        id: str = received(listener)["id"]
        listener.send(reply.to_frame(id))
        sender.join()
    return id


def test_a_message_is_shown_with_its_answer(console: Page, hub: ConsoleHub) -> None:
    id = answered(hub, Reply(201, HEADERS, HOSTILE.encode()))

    console.goto(f"{hub.url}/hookbot/messages/{id}")
    answer = console.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("with status 201, after")
    expect(answer).to_contain_text("<script>hacked=1")
    expect(answer.locator("dl.headers")).to_contain_text("onerror")
    expect(answer).not_to_contain_text("Set-Cookie")
    assert console.evaluate("window.hacked") is None
    assert console.locator("main script, main svg, main img[src='x']").count() == 0

    answer.get_by_role("link", name="answered").click()
    expect(console.locator("article.message")).to_contain_text("The reply of a listener, with status 201")
    expect(console.get_by_role("button", name="Deliver again")).to_have_count(0)


def test_an_answer_is_marked_in_the_list(console: Page, hub: ConsoleHub) -> None:
    answered(hub, Reply(203))

    expect(console.get_by_role("row", name="hookbot/replies/cmd")).to_contain_text("reply 203")


def test_scripts_in_an_answer_do_not_run_where_somebody_is_signed_in(browser: Browser, hub: ConsoleHub) -> None:
    # Not the fixture's: that a script is blocked is told in the browser's console.
    with browser.new_context() as context, hub.listening("/unsafe/sub/cmd?reply") as listener:
        context.set_default_timeout(WAIT_MS)
        page = context.new_page()
        sign_in(page, hub.url, hub.token("/"))
        page.goto("about:blank")
        page.set_content(f"<form method=post action='{hub.url}/unsafe/pub/cmd?reply'></form>")
        page.evaluate("setTimeout(() => document.forms[0].submit())")
        listener.send(Reply(200, HEADERS, HOSTILE.encode()).to_frame(received(listener)["id"]))

        expect(page.get_by_text("shown")).to_be_visible()
        assert page.url.startswith(hub.url)
        assert page.evaluate("[window.hacked, document.title, self.origin]") == [None, "answer", "null"]
        assert not [cookie for cookie in context.cookies() if cookie.get("name") == "hacked"]
        page.goto(f"{hub.url}/hookbot/")
        expect(page.get_by_role("row", name="/unsafe/cmd").first).to_be_visible()
