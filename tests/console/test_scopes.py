"""A token for a part shows that part: nothing of its neighbours is in a page, or in anything that the page fetches."""

import re

import pytest
from playwright.sync_api import Page, Route, expect

from support.browser import needs_chromium, sign_in
from support.console_hub import ConsoleHub

pytestmark = [pytest.mark.slow, needs_chromium]

# Each with what it fetches.
PAGES = {
    "": "messages",
    "listeners": "subscriptions",
    "routers": "session",
    "sources": "sources",
    "rates": "session",
    "start": "session",
}


def test_a_token_for_a_prefix_shows_nothing_of_its_neighbours(page: Page, hub: ConsoleHub) -> None:
    hub.publish("acme/1", b"ours")
    hub.publish("neighbour/1", b"a secret-of-the-neighbour", [("X-Secret", "secret-of-the-neighbour")])
    hub.publish("acmeneighbour", b"secret-of-the-neighbour")
    hub.post_unsafe("acme/neighbour", b"secret-of-the-neighbour")
    hub.post("/pub/neighbour/1", b"", token="wrong")
    hub.deliver("stripe", "stripe/neighbour", secret="another secret of the same length as ours")
    fetched: dict[str, str] = {}

    def note(route: Route) -> None:
        answer = route.fetch()
        fetched[route.request.url] = answer.text()
        route.fulfill(response=answer)

    # All but the stream, which does not end.
    page.route(re.compile("/v1/(?!live)"), note)

    with (
        hub.listening("/sub/neighbour/?cursor=neighbour"),
        hub.listening("/sub/?group=neighbour"),
        hub.listening("/sub/acme/"),
    ):
        sign_in(page, hub.url, hub.token("/sub/acme/"), path="/sub/acme/")
        expect(page.get_by_role("row", name="acme/1")).to_be_visible()
        hub.publish("neighbour/2", b"secret-of-the-neighbour")
        hub.publish("acme/2")
        expect(page.get_by_role("row", name="acme/2")).to_be_visible()
        for name, fetches in PAGES.items():
            with page.expect_response(re.compile(f"/v1/{fetches}")):
                page.goto(f"{hub.url}/hookbot/{name}")
            expect(page.get_by_role("main")).not_to_contain_text("neighbour")

    assert all(f"/v1/{fetches}" in " ".join(fetched) for fetches in PAGES.values())
    assert [url for url, text in fetched.items() if "neighbour" in text] == []


def test_a_message_of_a_neighbour_does_not_exist(page: Page, hub: ConsoleHub) -> None:
    theirs = hub.publish("neighbour/1", b"a secret")
    sign_in(page, hub.url, hub.token("/sub/acme/"), path="/sub/acme/")
    expect(page.get_by_text("Nothing has come yet")).to_be_visible()

    answer = page.request.get(f"{hub.url}/hookbot/v1/messages/{theirs}")

    assert answer.status == 404
    assert page.request.get(f"{hub.url}/hookbot/v1/messages/{theirs}/body").status == 404


def test_who_may_only_listen_does_not_deliver_again(page: Page, hub: ConsoleHub) -> None:
    id = hub.publish("acme/1")
    sign_in(page, hub.url, hub.token("/sub/acme/"), path="/sub/acme/")
    expect(page.get_by_role("row", name="acme/1")).to_be_visible()
    headers = {"Hookbot-Console": "1", "Origin": hub.url}

    answer = page.request.post(f"{hub.url}/hookbot/v1/messages/{id}/redeliver", headers=headers)

    assert answer.status == 403
    assert "/pub/acme/1" in answer.text()


@pytest.mark.parametrize("headers", [{}, {"Hookbot-Console": "1", "Origin": "http://evil.example"}, {"Origin": "SELF"}])
def test_another_page_changes_nothing_with_the_session(console: Page, hub: ConsoleHub, headers: dict[str, str]) -> None:
    id = hub.publish("orders/1")
    headers = {name: value.replace("SELF", hub.url) for name, value in headers.items()}

    answer = console.request.post(f"{hub.url}/hookbot/v1/messages/{id}/redeliver", headers=headers)

    assert answer.status == 403
    assert len(hub.get("/hookbot/v1/messages", hub.token("/")).json()["messages"]) == 1
