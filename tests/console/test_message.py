"""A message: what came, who vouches for it, what became of it, and what can be done with it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Page, expect

from hookbot.protocol.envelope import from_envelope
from support import GUARD_S
from support.browser import needs_chromium
from support.console_hub import ConsoleHub, received

pytestmark = [pytest.mark.slow, needs_chromium]

JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049454e44ae426082"
)


def visit(page: Page, hub: ConsoleHub, id: str) -> Locator:
    """The message, loaded on a page of its own."""
    page.goto(f"{hub.url}/hookbot/messages/{id}")
    message = page.locator("article.message:not([aria-busy])")
    expect(message.get_by_role("heading", name="Body")).to_be_visible()
    return message


def show(message: Locator, view: str) -> None:
    message.get_by_role("group", name="View").get_by_role("button", name=view).click()


def copied(message: Locator, name: str) -> str:
    """What is in the clipboard after one of the entries was chosen."""
    message.get_by_text("Copy as").click()
    message.get_by_role("button", name=name).click()
    expect(message.page.get_by_text("Copied")).to_be_visible()
    return str(message.page.evaluate("navigator.clipboard.readText()"))


def shell(command: str, **variables: str) -> None:
    """Run what somebody has pasted, with this checkout's `hookbot`."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["bash", "-ec", command], env={"PATH": path, **variables}, check=True, timeout=GUARD_S)


def test_headers_are_in_their_order_with_repeated_ones(console: Page, hub: ConsoleHub) -> None:
    id = hub.publish("x", b"1", [("X-B", "first"), ("X-A", "second"), ("x-b", "Grüße".encode().decode("latin-1"))])

    message = visit(console, hub, id)

    own = message.locator("dl.headers > *").filter(has_text="").all_inner_texts()
    pairs = list(zip(own[::2], own[1::2], strict=True))
    assert [pair for pair in pairs if pair[0].lower().startswith("x-")] == [
        ("X-B", "first"),
        ("X-A", "second"),
        ("x-b", "Grüße"),
    ]


def test_a_body_is_shown_pretty_as_text_and_as_hex(console: Page, hub: ConsoleHub) -> None:
    message = visit(console, hub, hub.publish("x", b'{"order": 12345678901234567890, "price": 1.25}', [JSON]))

    expect(message.locator(".tree .leaf")).to_have_text(["order: 12345678901234567890", "price: 1.25"])
    show(message, "Text")
    expect(message.locator(".body-view pre")).to_have_text('{"order": 12345678901234567890, "price": 1.25}')
    show(message, "Hex")
    expect(message.locator(".body-view pre")).to_contain_text(
        "000000  7b 22 6f 72 64 65 72 22  3a 20 31 32 33 34 35 36"
    )


def test_json_is_folded_beyond_200_values(console: Page, hub: ConsoleHub) -> None:
    body = json.dumps({"list": list(range(1000)), "deep": [{"a": [number]} for number in range(150)]}).encode()
    message = visit(console, hub, hub.publish("x", body, [JSON]))

    assert message.locator(".tree .leaf").count() <= 200
    message.locator(".tree details", has_text="list").locator("summary").nth(1).click()
    message.get_by_role("button", name="800 more").click()
    expect(message.get_by_text("399", exact=True).first).to_be_visible()


def test_forms_are_taken_apart(console: Page, hub: ConsoleHub) -> None:
    payload = quote(json.dumps({"action": "opened"}))
    message = visit(console, hub, hub.publish("x", f"a=1+2&b=%C3%BC&payload={payload}".encode(), [FORM]))

    expect(message.locator("dl.fields > dt")).to_have_text(["a", "b", "payload"])
    expect(message.locator("dl.fields > dd")).to_have_text(["1 2", "ü", '{action}action: "opened"'])


def test_multipart_forms_are_taken_apart(console: Page, hub: ConsoleHub) -> None:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\nContent-Type: application/x-a\r\n\r\n'
        b"\x00\xff\r\n--b--\r\n"
    )
    message = visit(console, hub, hub.publish("x", body, [("Content-Type", "multipart/form-data; boundary=b")]))

    parts = message.locator("ol.parts > li")
    expect(parts.nth(0)).to_contain_text("hello")
    expect(parts.nth(1)).to_contain_text("a.bin")
    expect(parts.nth(1)).to_contain_text("00 ff")


def test_an_image_is_shown_and_a_drawing_that_may_have_scripts_is_not(console: Page, hub: ConsoleHub) -> None:
    message = visit(console, hub, hub.publish("x", PIXEL, [("Content-Type", "image/png")]))
    expect(message.get_by_role("img", name="The body as an image")).to_have_js_property("naturalWidth", 1)

    drawing = b'<svg xmlns="http://www.w3.org/2000/svg"><script>parent.hacked = 1</script></svg>'
    message = visit(console, hub, hub.publish("x", drawing, [("Content-Type", "image/svg+xml")]))
    expect(message.get_by_role("img")).to_have_count(0)
    expect(message.locator(".body-view pre")).to_contain_text("<script>")


def test_a_download_is_the_body_whatever_it_says_to_be(console: Page, hub: ConsoleHub) -> None:
    body = b"<script>alert(1)</script>" + bytes(range(256))
    message = visit(console, hub, hub.publish("x", body, [("Content-Type", "text/html")]))

    with console.expect_download() as download:
        message.get_by_role("link", name="Download").click()

    assert download.value.path().read_bytes() == body


def test_the_verdict_says_by_which_secret_and_when(console: Page, hub: ConsoleHub) -> None:
    signed = visit(console, hub, hub.id_of(hub.deliver("stripe", "stripe/live"))).get_by_label("Verdict")
    expect(signed).to_contain_text("stripe")
    expect(signed).to_contain_text("the first of the source")
    expect(signed).to_contain_text("before it came")

    expect(visit(console, hub, hub.publish("x")).get_by_label("Verdict")).to_contain_text("had a token")

    unsafe = visit(console, hub, hub.post_unsafe("x", b"{}")).get_by_label("Verdict")
    expect(unsafe).to_contain_text("Nobody vouches")


def test_where_routers_sent_it_and_where_it_came_from(console: Page, hub: ConsoleHub) -> None:
    message = visit(console, hub, hub.id_of(hub.deliver("github", "github.com/org/acme")))

    related = message.locator("section.related")
    expect(related).to_contain_text("Routed to")
    related.get_by_role("link", name="github.com").first.click()

    routed = console.locator("article.message:not([aria-busy])")
    expect(routed.locator("section.related")).to_contain_text("Made from")
    expect(routed.locator("section.related")).to_contain_text("/unsafe/github.com/org/acme")


def test_a_repeat_is_linked_with_the_first_one(console: Page, hub: ConsoleHub) -> None:
    again = {"X-GitHub-Delivery": "0b989ba4-242f-11e5-81e1-c7b6966d2516"}
    first, second = (hub.id_of(hub.deliver("github", "github.com/org/acme", headers=again)) for _ in range(2))

    related = visit(console, hub, second).locator("section.related")
    expect(related).to_contain_text("Repeats")
    related.locator(f"a[href$='{first}']").click()

    expect(console.locator("section.related")).to_contain_text("Repeated by")
    assert console.url.endswith(first)


BODY = b'it\'s $HOME \\ "quoted" `x` %41\nGr\xc3\xbc\xc3\x9fe\t\x1b[31m'


@pytest.mark.parametrize(
    ("name", "variable"), [("curl command", "HOOKBOT_TOKEN"), ("hookbot command", "HOOKBOT_TOKEN")]
)
@pytest.mark.parametrize("body", [BODY, b'{"plain": "it\'s"}', bytes(range(256))], ids=["text", "json", "bytes"])
def test_what_is_copied_publishes_it_again(
    console: Page, hub: ConsoleHub, name: str, variable: str, body: bytes
) -> None:
    id = hub.publish("orders/a b", body, [("X-Quote", "it's $HOME"), ("Content-Type", "text/x")], "?a=1&b=%27")

    command = copied(visit(console, hub, id), name)
    with hub.listening("/sub/orders/") as listener:
        shell(command, **{variable: hub.token("/pub/orders/a b")})
        again = from_envelope(received(listener))

    assert again.topic == "orders/a b"
    assert again.body == body
    assert again.query == "a=1&b=%27"
    headers = {key.lower(): value for key, value in again.headers}
    assert headers["x-quote"] == "it's $HOME"
    assert headers["content-type"] == "text/x"


def test_a_fixture_is_the_envelope(console: Page, hub: ConsoleHub) -> None:
    id = hub.publish("orders/1", BODY)

    fixture = copied(visit(console, hub, id), "test fixture")

    message = from_envelope(json.loads(fixture))
    assert (message.id, message.topic, message.body) == (id, "orders/1", BODY)


def test_a_message_is_delivered_again(console: Page, hub: ConsoleHub) -> None:
    message = visit(console, hub, hub.publish("orders/1", b"the body", [("X-A", "1")]))
    with hub.listening("/sub/orders/") as listener:
        message.get_by_role("button", name="Deliver again").click()
        console.get_by_role("dialog").get_by_role("button", name="Deliver again").click()

        again = from_envelope(received(listener))

    assert again.body == b"the body"
    assert ("X-A", "1") in again.headers
    console.get_by_role("link", name=again.id).click()
    related = console.locator("section.related")
    expect(related).to_contain_text("Made from")
    related.get_by_role("link").click()
    expect(console.locator("section.related")).to_contain_text("Delivered again as")


def test_nothing_is_delivered_again_without_a_yes(console: Page, hub: ConsoleHub) -> None:
    message = visit(console, hub, hub.publish("orders/1"))
    with hub.listening("/sub/orders/") as listener:
        message.get_by_role("button", name="Deliver again").click()
        console.get_by_role("dialog").get_by_role("button", name="Cancel").click()
        expect(console.get_by_role("dialog")).to_have_count(0)

        hub.publish("orders/2")

        assert received(listener)["topic"] == "orders/2"


def test_a_failed_message_goes_back_to_where_it_came_from(console: Page, hub: ConsoleHub) -> None:
    hub.deliver("github", "github.com/org/acme", b"no JSON")
    row = console.get_by_role("row", name="hookbot/failed/github")
    expect(row).to_contain_text("failed")
    row.get_by_role("link").click()
    pane = console.locator("article.message:not([aria-busy])")

    expect(pane).to_contain_text("The router github failed at it on /unsafe/github.com/org/acme")
    with hub.listening("/unsafe/sub/github.com/org/acme") as listener:
        pane.get_by_role("button", name="Retry").click()
        console.get_by_role("dialog").get_by_role("button", name="Retry").click()

        again = from_envelope(received(listener))

    assert again.body == b"no JSON"
    assert not [name for name, _ in again.headers if name.lower().startswith("hookbot-failed")]


def test_a_message_is_given_to_a_cursor_again(console: Page, hub: ConsoleHub) -> None:
    with hub.listening("/sub/orders/?cursor=books") as listener:
        first = hub.publish("orders/1")
        hub.publish("orders/2")
        for frame in (received(listener), received(listener)):
            listener.send(json.dumps({"type": "ack", "id": frame["id"]}))

    message = visit(console, hub, first)
    message.get_by_role("button", name="Give to a cursor").click()
    dialog = console.get_by_role("dialog")
    dialog.get_by_label("books").check()
    dialog.get_by_role("button", name="Move the cursor").click()
    dialog.get_by_role("button", name="Really").click()
    expect(console.get_by_text("gets it again")).to_be_visible()

    with hub.listening("/sub/orders/?cursor=books") as listener:
        assert [received(listener)["topic"], received(listener)["topic"]] == ["orders/1", "orders/2"]


def test_all_that_a_filter_shows_is_delivered_again_after_a_count(console: Page, hub: ConsoleHub) -> None:
    for number in range(60):
        hub.publish(f"orders/{number}")
    hub.publish("other")
    console.locator("#filters [name=topic]").fill("orders/")
    expect(console.locator("#rows .topic").first).to_have_text("orders/59")

    with hub.listening("/sub/") as listener:
        console.get_by_role("button", name="Deliver all").click()
        dialog = console.get_by_role("dialog")
        expect(dialog).to_contain_text("60 messages")
        dialog.get_by_role("button", name="Deliver all").click()
        dialog.get_by_role("button", name="Really").click()
        expect(console.get_by_role("dialog")).to_contain_text("Delivered 60 messages")
        expect(console.get_by_role("progressbar")).to_have_js_property("value", 60)

        again = [received(listener)["topic"] for _ in range(60)]

    assert again == [f"orders/{number}" for number in range(60)]
