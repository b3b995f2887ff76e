"""Messages of a recording, and deliveries, posted to an app or a server."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import stripe
import trio
from werkzeug.wrappers import Request
from werkzeug.wrappers import Response as WerkzeugResponse

from hookbot.errors import ConfigError
from hookbot.protocol.envelope import encode_line, to_envelope
from hookbot.protocol.message import Message, format_id
from hookbot.signatures import SignedRequest, load_provider
from hookbot.testing import Response, play, recorded, serving, signed_delivery
from support.ports import free_ports
from support.targets import target

SECRET = "whsec_test"


def make(number: int, body: bytes = b"") -> Message:
    return Message("a", body or b"%d" % number, (("X-A", "1"),), id=format_id("abcdefgh", number), time_us=number)


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(encode_line(to_envelope(make(number))) for number in range(3)))
    return path


def echo(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    request = Request(environ)
    status = 500 if request.get_data() == b"1" else 200
    answer = WerkzeugResponse(request.get_data(), status, {"X-Path": request.path, "X-A": request.headers["X-A"]})
    return answer(environ, start_response)


def test_a_recording_is_read(recording: Path) -> None:
    with open(recording, "ab") as file:
        file.write(b'{"type":"heartbeat","id":"abcdefgh-000000000000009"}\n{"id": "abc')
    assert recorded(recording) == recorded(str(recording)) == [make(0), make(1), make(2)]


def test_a_damaged_recording_is_refused(recording: Path) -> None:
    recording.write_bytes(b"x\n" + recording.read_bytes())
    with pytest.raises(ValueError, match="1 damaged line"):
        recorded(recording)


def test_a_recording_is_posted_to_an_app_and_nothing_is_tried_again(recording: Path) -> None:
    responses = play(recording, echo, "/hook", headers={"x-a": "2"})

    assert [(response.status, response.body) for response in responses] == [(200, b"0"), (500, b"1"), (200, b"2")]
    assert {("X-Path", "/hook"), ("X-A", "2")} <= {*responses[0].headers}
    assert isinstance(responses[0], Response)


def test_a_url_and_deliveries_do_as_well(recording: Path) -> None:
    with serving(echo) as url:
        [first] = play(recorded(recording)[:1], f"{url}/x")
        [second] = play([signed_delivery("stripe", SECRET, headers={"X-A": "3"})], f"{url}/x")

    assert {("X-Path", "/x"), ("X-A", "1")} <= {*first.headers}
    assert {("X-Path", "/x"), ("X-A", "3")} <= {*second.headers}


def test_each_is_signed_anew(tmp_path: Path) -> None:
    def hook(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        request = Request(environ)
        event = stripe.Webhook.construct_event(request.get_data(), request.headers["Stripe-Signature"], "whsec_mine")
        return WerkzeugResponse(event["type"], 200)(environ, start_response)

    old = load_provider("stripe").sign(SignedRequest(b'{"object": "event", "type": "x"}'), "whsec_theirs", now=1e9)
    message = Message("a", old.body, old.headers, id=format_id("abcdefgh", 1))

    [response] = play([message], hook, sign=("stripe", "whsec_mine"))

    assert (response.status, response.body) == (200, b"x")


def test_who_cannot_sign_is_refused(recording: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be signed here: only the sender has the key"):
        play(recording, echo, sign=("paypal", "secret"))


def test_no_response_is_an_error(recording: Path) -> None:
    [port] = free_ports(1)
    with pytest.raises(RuntimeError, match="Connection refused"):
        play(recording, f"http://127.0.0.1:{port}/")


async def test_a_response_that_does_not_come_is_an_error(recording: Path) -> None:
    async with target(None) as server:
        with pytest.raises(RuntimeError, match="no response from"):
            await trio.to_thread.run_sync(lambda: play(recording, server.url, timeout_s=0.05))


async def test_a_test_on_trio_may_play(recording: Path) -> None:
    assert [response.status for response in play(recording, echo)] == [200, 500, 200]
