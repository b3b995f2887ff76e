"""The modules that the pages share: what a sender wrote becomes text that shows what would be invisible."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

import hookbot.web
from support.browser import needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]

STATIC = Path(hookbot.web.__file__).parent / "console" / "static"
SITE = "http://modules.example/"


@pytest.fixture
def modules(context: BrowserContext) -> Page:
    """A page that can import the modules."""
    context.route(f"{SITE}*.js", lambda route: route.fulfill(path=STATIC / route.request.url.removeprefix(SITE)))
    context.route(
        SITE, lambda route: route.fulfill(body="<!doctype html><html data-root='./'>", content_type="text/html")
    )
    page = context.new_page()
    page.goto(SITE)
    return page


def call(modules: Page, module: str, expression: str, argument: object = None) -> Any:
    """Value of an expression about a module `it`, and an argument `a`."""
    return modules.evaluate(
        f"async (a) => {{ const it = await import('./{module}.js'); return {expression}; }}", argument
    )


TEXT_OF = "it.h('p', null, it.visible(a)).textContent"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext,\nGrüße, 日本語, 🎉", "plain\ttext,\nGrüße, 日本語, 🎉"),
        ("a\r\nb", "a\r\nb"),
        ("a\rb", "aCRb"),
        ("\x1b[31mred\x1b[0m\x07", "ESC[31mredESC[0mBEL"),
        ("invoice\u202egpj.exe", "invoiceRLOgpj.exe"),
        ("a\u2066b\u2069", "aLRIbPDI"),
        ("zero\u200bwidth", "zeroU+200Bwidth"),
        ("\ufeffbom", "BOMbom"),
        ("tag\U000e0041", "tagU+E0041"),
        ("half\ud800", "halfU+D800"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
    ],
)
def test_what_has_no_glyph_is_named(modules: Page, text: str, shown: str) -> None:
    # JSON, since Playwright itself cannot pass half a pair.
    escaped = text.encode("utf-16-be", "surrogatepass").hex()
    units = [int(escaped[start : start + 4], 16) for start in range(0, len(escaped), 4)]

    assert call(modules, "dom", TEXT_OF.replace("(a)", "(String.fromCharCode(...a))"), units) == shown


def test_a_text_of_noise_has_few_marks(modules: Page) -> None:
    nodes, length = call(
        modules, "dom", "(n => [n.length, it.h('p', null, n).textContent.length])(it.visible(a))", "\x1b" * 100_000
    )

    assert nodes < 2000
    assert length >= 100_000


def test_what_looks_like_html_is_text(modules: Page) -> None:
    html = "<script>alert(1)</script><b>bold</b>"

    assert call(modules, "dom", "it.h('div', {title: a}, a, [a]).children.length", html) == 0
    assert call(modules, "dom", "it.h('div', {title: a}).getAttribute('title')", html) == html


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (25 << 20, "25 MB"), (1 << 30, "1.0 GB")]
)
def test_a_size_has_a_unit(modules: Page, size: int, shown: str) -> None:
    assert call(modules, "format", "it.size(a)", size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 ms"),
        (0.35, "350 ms"),
        (12, "12 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (187_200, "2 d 4 h"),
        (-5, "0 ms"),
    ],
)
def test_a_duration_has_one_or_two_units(modules: Page, seconds: float, shown: str) -> None:
    assert call(modules, "format", "it.duration(a)", seconds) == shown


@pytest.mark.parametrize("root", ["./", "../", "../../"])
def test_a_url_is_relative_and_has_only_the_parameters_that_are_given(modules: Page, root: str) -> None:
    modules.evaluate("root => { document.documentElement.dataset.root = root }", root)

    url = call(modules, "api", "it.url('v1/messages', {topic: 'a b/', text: '', limit: 0, before: null})")

    assert url == f"{root}v1/messages?topic=a+b%2F&limit=0"


@pytest.mark.parametrize("base", ["https://hub.example", "http://proxy.example:8080/hooks"])
def test_a_copied_command_publishes_at_the_url_of_the_hub_also_beneath_a_path(modules: Page, base: str) -> None:
    message = {"topic": "/unsafe/a b/ü", "query": "x=1&y=%27"}

    url = call(modules, "snippets", "it.publishUrl(a.message, a.base)", {"message": message, "base": base})

    assert url == f"{base}/unsafe/pub/a%20b/%C3%BC?x=1&y=%27"
