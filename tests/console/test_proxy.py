"""The console beneath a path of a proxy, and a hub without it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, expect

from support.browser import Complaints, needs_chromium, sign_in
from support.console_hub import ConsoleHub, running_console_hub
from support.hubs import ThreadHub
from support.nginx import needs_nginx, running_nginx
from support.ports import free_ports

pytestmark = [pytest.mark.slow, needs_chromium]

SITE = """
server {
    listen 127.0.0.1:PORT;
    location /hooks/ {
        proxy_pass http://127.0.0.1:HUB/;
        proxy_http_version 1.1;
        proxy_buffering off;
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
    }
}
"""


@pytest.fixture
def proxied(hub: ConsoleHub, tmp_path: Path) -> Iterator[str]:
    """URL of a proxy, which has the hub beneath a path."""
    [port] = free_ports(1)
    site = SITE.replace("PORT", str(port)).replace("HUB", str(hub.port))
    directory = tmp_path / "nginx"
    directory.mkdir()
    with ThreadHub(running_nginx(site, directory)):
        yield f"http://127.0.0.1:{port}/hooks"


@needs_nginx
def test_every_page_works_beneath_a_path_of_a_proxy(context: BrowserContext, hub: ConsoleHub, proxied: str) -> None:
    complaints = Complaints(context, proxied)
    page = context.new_page()
    sign_in(page, proxied, hub.token("/"))

    hub.publish("orders/1", b'{"order": 1}')
    page.get_by_role("row").get_by_role("link", name="orders/1").click()
    expect(page.locator(".tree .leaf")).to_have_text("order: 1")
    for name in ("Listeners", "Routers", "Sources", "Rates", "Start", "Live"):
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", name=name).first).to_be_attached()
        assert page.url.startswith(f"{proxied}/hookbot/")
    expect(page.get_by_role("link", name="orders/1")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token or URL")).to_be_visible()
    assert page.url.startswith(f"{proxied}/hookbot/")
    complaints.check()


def test_a_hub_without_the_console_has_no_pages_but_the_api(tmp_path: Path) -> None:
    with running_console_hub(tmp_path, "--no-console") as hub:
        for path in ("/", "/hookbot/", "/hookbot/sign-in", "/hookbot/listeners", "/hookbot/static/style.css"):
            assert hub.get(path, hub.token("/")).status_code == 404, path
        assert hub.get("/hookbot/v1/routers", hub.token("/")).status_code == 200
