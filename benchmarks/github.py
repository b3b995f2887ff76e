"""GitHub's deliveries: recorded payloads of 2 to 25 kB, each made one of its own and signed."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.protocols import SECRET, uuid
from benchmarks.supply import Request, Supply

# See the README there; smaller ones are rare.
RECORDED = Path(__file__).parents[1] / "tests/deliveries"
LEAST_BYTES = 2000
WEBHOOK = "/unsafe/pub/github.com/"
# All that the hub's router publishes.
TOPIC = "github.com/"
# As `benchmarks.supply.MOST_PER_S`.
MOST_PER_S = 6_000


@dataclass(frozen=True)
class Payload:
    """A recorded payload, without the brace at its end."""

    event: str
    begin: bytes


def recorded() -> Sequence[Payload]:
    """The recorded payloads."""
    files = [file for file in sorted(RECORDED.glob("*.json")) if file.stat().st_size >= LEAST_BYTES]
    return [Payload(file.name.partition(".")[0], file.read_bytes().rstrip()[:-1]) for file in files]


def deliveries(*, summaries: bool) -> Supply:
    """Signed deliveries of each payload in turn; with `summaries`, a listener receives a second message for a push."""
    payloads = recorded()

    def make(number: int) -> Request:
        payload = payloads[number % len(payloads)]
        body = b'%b, "delivery": %d}' % (payload.begin, number)
        messages = 2 if summaries and payload.event == "push" else 1
        return Request(TOPIC, bytearray(_head(payload.event, body, number) + body), messages)

    return Supply(make)


def _head(event: str, body: bytes, number: int) -> bytes:
    # In the order of GitHub's own requests.
    return (
        f"POST {WEBHOOK} HTTP/1.1\r\nHost: hooks.example.com\r\nUser-Agent: GitHub-Hookshot/044aadd\r\n"
        f"Content-Length: {len(body)}\r\nAccept: */*\r\nContent-Type: application/json\r\n"
        f"X-GitHub-Delivery: {uuid(number)}\r\nX-GitHub-Event: {event}\r\nX-GitHub-Hook-ID: 292430182\r\n"
        f"X-GitHub-Hook-Installation-Target-ID: 79929171\r\n"
        f"X-GitHub-Hook-Installation-Target-Type: repository\r\n"
        f"X-Hub-Signature: sha1={_sign(body, 'sha1')}\r\nX-Hub-Signature-256: sha256={_sign(body, 'sha256')}\r\n\r\n"
    ).encode()


def _sign(body: bytes, digest: str) -> str:
    return hmac.digest(SECRET.encode(), body, digest).hex()
