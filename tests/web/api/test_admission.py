"""Admission to the API and to the console; most of it in the tests of operations and of pages."""

import pytest

from hookbot.access.authorizer import Authorizer
from hookbot.access.control import AccessControl
from hookbot.access.tokens import make_token
from hookbot.errors import Forbidden
from hookbot.protocol.request import Request
from hookbot.web.api.admission import admit, has_session, is_valid
from support import KEY
from support.api import narrowed

MESSAGE = b"/hookbot/v1/messages/abcdefgh-000000000000001"


def asking(token: str) -> Request:
    return Request("GET", MESSAGE, (("Authorization", f"Bearer {token}"),))


def access(authorizer: Authorizer, now_s: int = 0) -> AccessControl:
    return AccessControl(authorizer, clock_us=lambda: now_s * 1_000_000)


def test_a_token_without_history_does_not_show_stored_messages_to_an_operator() -> None:
    with pytest.raises(Forbidden, match="only a part of the messages"):
        admit(access(Authorizer([KEY])), asking(narrowed("/", live="1")))

    with pytest.raises(Forbidden, match="only new messages"):
        admit(access(Authorizer([KEY], live_only=["sha1"])), asking(make_token(KEY, "/")))


def test_a_scope_ends_with_its_tokens() -> None:
    scope = admit(access(Authorizer([KEY])), asking(narrowed("/sub/acme/", expires="10", name="ann")))

    assert is_valid(access(Authorizer([KEY]), 9), scope)
    assert not is_valid(access(Authorizer([KEY]), 10), scope)
    assert not is_valid(access(Authorizer([KEY], revoked=["ann"])), scope)
    assert not is_valid(access(Authorizer(["another key"])), scope)


@pytest.mark.parametrize("cookie", ["", "hookbot=x", f"hookbot={narrowed('/sub/acme/', live='1')}"])
def test_a_browser_has_no_session_without_a_token_that_opens_something(cookie: str) -> None:
    request = Request("GET", b"/hookbot/", (("Cookie", cookie),))

    assert not has_session(access(Authorizer([KEY])), request)
