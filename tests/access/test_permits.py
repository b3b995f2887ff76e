"""Permits: remembered for equal requests, and bounded."""

import pytest

from hookbot.access import permits as permits_module
from hookbot.access.permits import MAX_KEY_BYTES, Permit, Permits
from hookbot.protocol.request import Request


def request(target: str = "/pub/a", token: str = "t", method: str = "POST") -> Request:
    return Request(method, target.encode(), (("Authorization", f"Bearer {token}"), ("X-Id", "1")))


def permit(*, has_token: bool = True) -> Permit:
    return Permit("a", None, 10, "", has_token=has_token)


def test_a_permit_is_found_for_the_same_target_token_and_method_only() -> None:
    permits, given = Permits(), permit()
    permits.add(request(), given)

    assert permits.find(request()) is given
    others = [request("/pub/a?b"), request(token="u"), request(method="PUT"), Request("POST", b"/pub/a", ())]
    assert [permits.find(other) for other in others] == [None] * 4
    permits.clear()
    assert permits.find(request()) is None


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        pytest.param(request(), permit(has_token=False), id="no token"),
        pytest.param(request("/pub/" + "a" * MAX_KEY_BYTES), permit(), id="long target"),
        pytest.param(request(token="t" * MAX_KEY_BYTES), permit(), id="long token"),
    ],
)
def test_what_anybody_can_send_or_is_long_is_not_kept(asked: Request, given: Permit) -> None:
    permits = Permits()
    permits.add(asked, given)

    assert permits.find(asked) is None


def test_the_oldest_permit_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permits_module, "MAX_PERMITS", 2)
    permits = Permits()
    asked = [request(f"/pub/{number}") for number in range(3)]
    for one in asked:
        permits.add(one, permit())

    assert [permits.find(one) is not None for one in asked] == [False, True, True]
