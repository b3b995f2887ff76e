"""Fields of a request in a line of the log."""

import pytest

from hookbot.access.request_fields import MAX_METHOD, MAX_PATH, request_fields
from hookbot.access.tokens import make_token
from hookbot.protocol.request import Request

TOKEN = make_token("key", "/pub/a")
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_request_is_known_by_method_path_topic_client_and_trace() -> None:
    headers = (("Traceparent", f"00-{TRACE}-00f067aa0ba902b7-01"), ("Authorization", f"Bearer {TOKEN}"))
    assert request_fields(Request("POST", b"/pub/a%20b?c=d", headers, "192.0.2.1")) == {
        "method": "POST",
        "path": "/pub/a b",
        "topic": "a b",
        "client": "192.0.2.1",
        "trace_id": TRACE,
    }


def test_what_a_request_does_not_have_is_empty() -> None:
    assert set(request_fields(Request("", b"", ())).values()) == {""}


@pytest.mark.parametrize(
    "target", [f"/pub/a?token={TOKEN}", f"/pub/{TOKEN}/a", f"https://{TOKEN}@hub.example.com/pub/a"]
)
def test_no_token_is_shown(target: str) -> None:
    assert TOKEN not in str(request_fields(Request("POST", target.encode(), ())))


def test_what_is_long_is_clipped() -> None:
    fields = request_fields(Request("M" * 999, b"/pub/" + b"a/" * 50_000, ()))
    assert (len(fields["method"]), len(fields["path"]), fields["topic"]) == (MAX_METHOD, MAX_PATH, "")
