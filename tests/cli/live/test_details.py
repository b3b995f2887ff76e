"""Details of a delivery."""

from hookbot.cli.live.deliveries import Deliveries, Delivery
from hookbot.cli.live.details import details
from hookbot.delivery.outcome import Attempt, Exchange, Outcome
from hookbot.protocol.message import Message, Verified

HOSTILE = "\x1b]0;evil\x07[bold]\u202e\r"
SAFE = r"\x1b]0;evil\x07[bold]\u202e\r"


def delivery(message: Message, *attempts: Attempt) -> Delivery:
    deliveries = Deliveries(now=lambda: 0.0)
    if not attempts:
        deliveries.receive(message)
    for attempt in attempts:
        deliveries.begun(message, attempt.number)
        deliveries.ended(attempt)
    [made] = deliveries
    return made


def shown(of: Delivery) -> str:
    return "\n".join(line.plain for line in details(of))


def test_request_and_response_are_shown_with_all_attempts() -> None:
    message = Message(
        "shop",
        b'{"type":"invoice.paid","n":1.10}',
        (("Content-Type", "application/json"),),
        query="a=1",
        verified=Verified("stripe", "0"),
        id="abcdefgh-000000000000001",
        time_us=1_700_000_000_000_000,
    )
    exchange = Exchange((*message.headers, ("Host", "here")), 200, (("Server", "x"),), b'{"ok":true}', True)
    done = Outcome("200 OK from http://here in 4 ms", "200", 0.004, exchange)
    text = shown(delivery(message, Attempt(message, 1, Outcome("refused"), retry_in_s=1), Attempt(message, 2, done)))

    assert text.startswith("invoice.paid  shop\n")
    for part in ("verified by stripe", "abcdefgh-000000000000001", "2023-11-1", "  1  19", "refused"):
        assert part in text
    assert "\nRequest\n?a=1\nContent-Type: application/json\nHost: here\n\n{\n" in text
    assert '\n  "n": 1.10\n}\n\nResponse 200 OK\nServer: x\n\n{\n  "ok": true\n}' in text
    assert "there is more" not in text


def test_of_a_message_that_is_given_up_the_place_is_shown() -> None:
    message = Message("t")
    text = shown(delivery(message, Attempt(message, 1, Outcome("no"), kept_in="lost.jsonl")))
    assert "given up, and kept in lost.jsonl" in text


def test_what_is_only_received_has_its_own_headers_and_no_response() -> None:
    text = shown(delivery(Message("t", b"text", (("X-A", "1"),))))
    assert "\nRequest\nX-A: 1\n\ntext" in text
    assert "Response" not in text
    assert "Attempts" not in text


def test_what_controls_a_terminal_is_escaped_everywhere() -> None:
    message = Message(HOSTILE, HOSTILE.encode(), ((HOSTILE, HOSTILE),), query=HOSTILE, id=HOSTILE)
    exchange = Exchange(message.headers, 200, message.headers, HOSTILE.encode(), True)
    text = shown(delivery(message, Attempt(message, 1, Outcome(HOSTILE, HOSTILE, 1, exchange), kept_in=HOSTILE)))

    assert not set(text.replace("\n", "")) & set(HOSTILE[:1] + "\x07\u202e\r")
    assert text.count(SAFE) == 11


def test_bodies_that_are_no_text_are_dumped() -> None:
    message = Message("t", bytes(range(256)) * 40)
    text = shown(delivery(message))
    assert "00000020  20 21 22" in text
    assert ' !"#$%&' in text
    assert "00000ff0" in text
    assert "... and 6144 more bytes" in text


def test_everything_is_bounded() -> None:
    message = Message("t", b"x" * (1 << 20), tuple((f"X-{n}", "x" * 10_000) for n in range(1000)))
    exchange = Exchange((), 500, (), b"y" * (64 << 10), False)
    text = shown(delivery(message, Attempt(message, 1, Outcome("no", "500", 1, exchange), retry_in_s=1)))

    assert "... and 1028576 more characters" in text
    assert "there is more of it" in text
    assert len(text) < 1_000_000

    assert "... and 800 more" in shown(delivery(message))
