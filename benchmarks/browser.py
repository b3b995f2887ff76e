"""Pages of the console in a Chromium, and how long each of their frames takes."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles

from playwright.sync_api import sync_playwright

from benchmarks.protocols import token
from benchmarks.samples import Values

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")

# From one frame to the next, while nobody asks.
_WATCH = """() => {
    window.frameTimes = [];
    let last = performance.now();
    const next = (now) => { frameTimes.push(now - last); last = now; requestAnimationFrame(next); };
    requestAnimationFrame(next);
}"""


def missing() -> str:
    """Packages that a browser lacks, empty if nothing is missing."""
    return "" if CHROMIUM else "Chromium (Debian's package chromium)"


@contextmanager
def watched_page(port: int) -> Iterator[Callable[[], Values]]:
    """The live page of a hub, and a function that returns the times of its frames since the block began."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/hookbot/")
        page.get_by_label("Token or URL").fill(token("/"))
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("table").wait_for()
        page.evaluate(_WATCH)

        def frames() -> Values:
            page.wait_for_function("frameTimes.length > 1")
            times_ms: list[float] = page.evaluate("frameTimes")
            return {
                "ms per frame, p99": quantiles(times_ms, n=100, method="inclusive")[98],
                "ms per frame, most": max(times_ms),
            }

        try:
            yield frames
        finally:
            browser.close()
