"""Permits: remembered for equal requests, and bounded."""

import pytest

from hookbot.access import permits as permits_module
from hookbot.access.permits import MAX_KEY_BYTES, Permit, Permits, key_of
from hookbot.protocol.request import Request


def request(
    target: str = "/pub/a", token: str = "t", method: str = "POST", protocols: str = "", *, authenticated: bool = True
) -> Request:
    headers = (("Authorization", f"Bearer {token}"), ("Sec-WebSocket-Protocol", protocols), ("X-Id", "1"))
    made = Request(method, target.encode(), headers)
    made.authenticated = authenticated
    return made


def permit() -> Permit:
    return Permit("a", None, 10, "")


def test_a_permit_is_found_for_the_same_target_token_and_method_only() -> None:
    permits, given = Permits[Permit](), permit()
    permits.add(request(), given)

    assert permits.find(key_of(request())) is given
    others = [
        request("/pub/a?b"),
        request(token="u"),
        request(method="PUT"),
        request(protocols="hookbot.v1"),
        Request("POST", b"/pub/a", ()),
    ]
    assert [permits.find(key_of(other)) for other in others] == [None] * 5


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param(request(authenticated=False), id="no token"),
        pytest.param(request("/pub/" + "a" * MAX_KEY_BYTES), id="long target"),
        pytest.param(request(token="t" * MAX_KEY_BYTES), id="long token"),
        pytest.param(request(protocols="t" * MAX_KEY_BYTES), id="long subprotocol"),
    ],
)
def test_what_anybody_can_send_or_is_long_is_not_kept(asked: Request) -> None:
    permits = Permits[Permit]()
    permits.add(asked, permit())

    assert permits.find(key_of(asked)) is None


def test_what_anybody_can_send_is_kept_for_a_publish_to_an_open_target() -> None:
    permits, given, asked = Permits[Permit]([b"/pub/a"]), permit(), Request("POST", b"/pub/a", (("X-Id", "1"),))
    permits.add(asked, given)
    # Anybody can vary these without end.
    varied = [request(authenticated=False), Request("POST", b"/pub/%61", ()), Request("PUT", b"/pub/a", ())]
    for other in varied:
        permits.add(other, permit())

    assert [permits.find(key_of(one)) for one in (asked, *varied)] == [given, None, None, None]


def test_the_oldest_permit_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permits_module, "MAX_PERMITS", 2)
    permits = Permits[Permit]()
    asked = [request(f"/pub/{number}") for number in range(3)]
    for one in asked:
        permits.add(one, permit())

    assert [permits.find(key_of(one)) is not None for one in asked] == [False, True, True]
