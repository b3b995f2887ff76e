"""The signed header that tells a hub the client of a subscription that another hub relays."""

import pytest

from hookbot.access.relayed import HEADER, WINDOW_S, read_client, sign
from hookbot.access.tokens import opening_paths
from hookbot.protocol.request import Request

KEYS = ["new key", "old key"]
NOW_S = 1_700_000_000.0


def request(value: str = "", *, method: str = "GET", target: bytes = b"/sub/a?cursor=c", client: str = "") -> Request:
    return Request(method, target, ((HEADER, value),), client=client)


@pytest.mark.parametrize("client", ["192.0.2.7", "2001:db8::7", ""])
@pytest.mark.parametrize("key", KEYS)
def test_a_hub_with_the_key_is_believed(client: str, key: str) -> None:
    value = sign(request(client=client), key, now_s=NOW_S)

    assert read_client(request(value, client="10.0.0.1"), KEYS, now_s=NOW_S + WINDOW_S - 1) == client


def test_nobody_else_is_believed() -> None:
    assert (
        read_client(request(sign(request(client="192.0.2.7"), "another key", now_s=NOW_S)), KEYS, now_s=NOW_S) is None
    )


@pytest.mark.parametrize("late_s", [WINDOW_S + 1, -WINDOW_S - 1])
def test_nothing_old_or_of_the_future_is_believed(late_s: float) -> None:
    value = sign(request(client="192.0.2.7"), KEYS[0], now_s=NOW_S)

    assert read_client(request(value), KEYS, now_s=NOW_S + late_s) is None


def test_what_was_signed_for_another_target_or_method_is_not_believed() -> None:
    value = sign(request(client="192.0.2.7"), KEYS[0], now_s=NOW_S)

    assert read_client(request(value, target=b"/sub/a?cursor=d"), KEYS, now_s=NOW_S) is None
    assert read_client(request(value, method="POST"), KEYS, now_s=NOW_S) is None


@pytest.mark.parametrize("part", range(3))
def test_a_value_that_was_changed_is_not_believed(part: int) -> None:
    parts = sign(request(client="192.0.2.7"), KEYS[0], now_s=NOW_S).split(" ")

    parts[part] = {0: str(int(NOW_S) + 1), 1: "192.0.2.8", 2: "0" * 64}[part]

    assert read_client(request(" ".join(parts)), KEYS, now_s=NOW_S) is None


@pytest.mark.parametrize("value", ["", "x", "1 2 3", "1700000000 a", f"{10**13} a {'0' * 64}", "\u0661 a " + "0" * 64])
def test_what_is_no_such_value_is_not_believed(value: str) -> None:
    assert read_client(request(value), KEYS, now_s=NOW_S) is None


def test_what_is_signed_is_the_path_of_no_token() -> None:
    assert all(opening.startswith("/") for opening in opening_paths("/sub/hookbot relayed subscription"))
