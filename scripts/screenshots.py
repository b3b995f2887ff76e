"""Pictures of the console for the documentation: ``make screenshots``.

A hub is filled with deliveries that GitHub once sent and some others, and a Chromium draws its pages.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, ViewportSize, expect

from support.browser import running_browser, sign_in
from support.console_hub import ConsoleHub, running_console_hub

ROOT = Path(__file__).parents[1]
DELIVERIES = ROOT / "tests" / "deliveries"
IMAGES = ROOT / "docs" / "images"
MAX_BYTES = 150 << 10
WIDE = ViewportSize(width=1200, height=680)
PHONE = ViewportSize(width=390, height=780)
JSON = ("Content-Type", "application/json")
FORM = ("Content-Type", "application/x-www-form-urlencoded")

Scheme = Literal["light", "dark"]
SCHEMES: tuple[Scheme, ...] = ("light", "dark")


def main(directory: Path = IMAGES) -> int:
    """Draw all pictures into a directory. The exit code is 1 if one is larger than a page should load."""
    directory.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        running_console_hub(Path(data)) as hub,
        busy(hub),
        running_browser() as browser,
    ):
        for scheme in SCHEMES:
            draw_all(browser, hub, directory, scheme)
    sizes = {path.name: path.stat().st_size for path in sorted(directory.glob("console-*.png"))}
    for name, size in sizes.items():
        print(f"{name}: {size / 1000:.0f} kB{', which is too large' if size > MAX_BYTES else ''}")
    return int(any(size > MAX_BYTES for size in sizes.values()))


@contextmanager
def busy(hub: ConsoleHub) -> Iterator[None]:
    """A hub to which much has come, where some listen, one of them far behind, and somebody was refused."""
    with ExitStack() as stack:
        for path in (
            "/sub/github.com/?cursor=deploy",
            "/sub/orders/?cursor=books&max_unacked=1",
            "/sub/orders/?group=mailers",
        ):
            stack.enter_context(hub.listening(path))
        for order in range(1000, 1040):
            body = {"order": order, "total": "19.90", "currency": "EUR"}
            hub.publish("orders/eu", json.dumps(body).encode(), [JSON])
        for file in sorted(DELIVERIES.glob("*.json")):
            event, number, _ = file.name.split(".")
            headers = {
                "X-GitHub-Event": event,
                "X-GitHub-Delivery": f"0b989ba4-242f-11e5-81e1-{hash_of(event, number)}",
            }
            hub.deliver("github", "github.com/org/acme", file.read_bytes(), headers)
        hub.deliver("stripe", "stripe/live")
        hub.deliver("stripe", "stripe/live", secret="the secret of somebody else, as long as ours")
        hub.publish("sensors/roof", b"temperature=3.5&wind=12", [FORM])
        hub.deliver("github", "github.com/org/acme")
        yield


def hash_of(event: str, number: str) -> str:
    """Twelve hexadecimal digits for a delivery."""
    return f"{event}{number}".encode().hex()[-12:].rjust(12, "0")


def draw_all(browser: Browser, hub: ConsoleHub, directory: Path, scheme: Scheme) -> None:
    """Draw each page in a wide window, and the live page as on a phone."""
    with browser.new_context(color_scheme=scheme, viewport=WIDE, reduced_motion="reduce") as context:
        page = context.new_page()
        sign_in(page, hub.url, hub.token("/"))
        row = page.get_by_role("row").filter(has_text="workflow_run").first
        row.wait_for()
        draw(page, directory / f"console-live-{scheme}.png")
        row.get_by_role("link").first.click()
        page.get_by_role("heading", name="Headers").wait_for()
        draw(page, directory / f"console-message-{scheme}.png")
        for name in ("listeners", "routers", "sources"):
            page.goto(f"{hub.url}/hookbot/{name}")
            page.locator("main article, main tbody tr").first.wait_for()
            draw(page, directory / f"console-{name}-{scheme}.png")
    with browser.new_context(color_scheme=scheme, viewport=PHONE, is_mobile=True, has_touch=True) as context:
        page = context.new_page()
        sign_in(page, hub.url, hub.token("/"))
        page.get_by_role("row").nth(5).wait_for()
        draw(page, directory / f"console-phone-{scheme}.png")


def draw(page: Page, path: Path) -> None:
    """Draw what is seen."""
    expect(page.get_by_role("navigation")).to_be_visible()
    # Nothing is pointed at.
    page.mouse.move(0, 0)
    page.screenshot(path=path, animations="disabled", caret="hide")


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
