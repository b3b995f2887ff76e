"""Publishing, against a hub that misbehaves as scripted."""

import httpx
import pytest
import trio

from hookbot.backoff import Backoff
from hookbot.client import Publisher, open_publisher
from hookbot.client.address import Address
from hookbot.errors import BodyTooLarge, Refused, TooManyRequests, Unauthorized, Unavailable
from support.scripted_hub import Script, answering, on_bytes, publish, read_head, response, scripted_hub


class Recorder:
    """A hub that stores everything."""

    def __init__(self, headers: bytes = b"Hookbot-Message-Id: id-1\r\n") -> None:
        self.headers = headers
        self.requests: list[tuple[str, list[tuple[str, str]], bytes]] = []

    @property
    def script(self) -> Script:
        return on_bytes(self._serve)

    async def _serve(self, stream: trio.abc.Stream) -> None:
        while True:
            head, _, body = (await read_head(stream)).partition(b"\r\n\r\n")
            line, *fields = head.decode("latin-1").split("\r\n")
            headers = [(name, value) for name, _, value in (field.partition(": ") for field in fields)]
            length = next(int(value) for name, value in headers if name.lower() == "content-length")
            while len(body) < length:
                body += await stream.receive_some()
            self.requests.append((line, headers, body))
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n" + self.headers + b"\r\nOK\n")

    def header(self, name: str, n: int = 0) -> list[str]:
        return [value for field, value in self.requests[n][1] if field.lower() == name.lower()]


async def test_a_body_arrives_as_it_is_and_the_id_comes_back() -> None:
    hub_ = Recorder()
    body = bytes(range(256)) * 4096
    async with scripted_hub(hub_.script) as hub:
        assert await publish(hub.pub, body) == "id-1"
    assert hub_.requests[0][0] == "POST /pub/t HTTP/1.1"
    assert hub_.requests[0][2] == body


async def test_text_is_published_as_utf8_and_nothing_as_nothing() -> None:
    hub_ = Recorder()
    async with scripted_hub(hub_.script) as hub:
        await publish(hub.pub, "ü")
        await publish(hub.pub, b"")
    assert [body for _, _, body in hub_.requests] == ["ü".encode(), b""]


async def test_headers_arrive_in_order_repeated_and_with_any_latin_1() -> None:
    hub_ = Recorder()
    headers = [("X-One", "1"), ("x-Two", "2"), ("X-One", "ü"), ("User-Agent", "GitHub-Hookshot/1")]
    async with scripted_hub(hub_.script) as hub:
        await publish(hub.pub, b"x", headers=headers)
    sent = [pair for pair in hub_.requests[0][1] if pair[0].lower() in {"x-one", "x-two", "user-agent"}]
    assert sent == headers


async def test_the_headers_of_a_message_can_be_passed_on_as_they_are() -> None:
    hub_ = Recorder()
    of_a_message = [
        ("Host", "elsewhere"),
        ("Content-Length", "999"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("Content-Type", "application/json"),
    ]
    async with scripted_hub(hub_.script) as hub:
        await publish(hub.pub, b"{}", headers=of_a_message)
    assert hub_.header("host") == [f"127.0.0.1:{hub.port}"]
    assert hub_.header("content-length") == ["2"]
    assert hub_.header("transfer-encoding") == hub_.header("connection") == []
    assert hub_.header("content-type") == ["application/json"]


async def test_query_token_hops_and_key_are_sent() -> None:
    hub_ = Recorder()
    async with scripted_hub(hub_.script) as hub:
        url = f"ws://token@127.0.0.1:{hub.port}/pub/a b?extra-metadata=github"
        await publish(url, b"x", hops=("github", "filter"), idempotency_key="k")
    assert hub_.requests[0][0] == "POST /pub/a%20b?extra-metadata=github HTTP/1.1"
    assert hub_.header("authorization") == ["Basic dG9rZW46"]
    assert hub_.header("hookbot-hops") == ["github,filter"]
    assert hub_.header("idempotency-key") == ["k"]


async def test_every_publish_has_a_key_of_its_own() -> None:
    hub_ = Recorder()
    async with scripted_hub(hub_.script) as hub:
        await publish(hub.pub, b"x")
        await publish(hub.pub, b"x")
    assert hub_.header("idempotency-key", 0) != hub_.header("idempotency-key", 1)


async def test_a_hub_older_than_1_0_gives_no_id() -> None:
    async with scripted_hub(Recorder(headers=b"").script) as hub:
        assert await publish(hub.pub, b"x") == ""


async def test_a_publisher_keeps_its_connection() -> None:
    hub_ = Recorder()
    async with scripted_hub(hub_.script) as hub, open_publisher(hub.pub) as publisher:
        for _ in range(3):
            await publisher.publish(b"x")
    assert (len(hub_.requests), hub.connections) == (3, 1)


@pytest.mark.slow
@pytest.mark.parametrize("status", [None, 408, 409, 429, 500, 502, 503])
async def test_a_publish_that_may_work_later_is_tried_again_with_the_same_key(
    status: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    keys = []

    @on_bytes
    async def first(stream: trio.abc.Stream) -> None:
        keys.append(next(line for line in (await read_head(stream)).split(b"\r\n") if b"Idempotency" in line))
        if status:
            await stream.send_all(response(status, b"later\n", "Retry-After: 0"))

    hub_ = Recorder()
    async with scripted_hub(first, hub_.script) as hub:
        assert await publish(hub.pub, b"") == "id-1"
    assert keys == [f"Idempotency-Key: {hub_.header('idempotency-key')[0]}".encode()]
    [line] = caplog.messages
    assert "; trying again in " in line


@pytest.mark.parametrize(
    ("status", "error"), [(400, Refused), (401, Unauthorized), (413, BodyTooLarge), (302, Refused), (201, Refused)]
)
async def test_a_refusal_is_raised_at_once(status: int, error: type[Exception]) -> None:
    async with scripted_hub(answering(status, b"since this\n")) as hub:
        with pytest.raises(error, match="since this"):
            await publish(hub.pub, b"x")
    assert hub.connections == 1


class Planned(Backoff):
    """Delays as a test has planned them."""

    def __init__(self, *delays_s: float) -> None:
        super().__init__()
        self._delays_s = iter(delays_s)

    def next_s(self, *, lasted_s: float = 0, at_least_s: float = 0) -> float:
        return next(self._delays_s)


async def test_patience_ends_before_a_delay_that_would_outlast_it() -> None:
    async with scripted_hub(answering(503, b"no room\n")) as hub:
        with pytest.raises(Unavailable, match="no room"):
            await publish(hub.pub, b"x", patience_s=1000, backoff=lambda: Planned(0, 0, 1001))
    assert hub.connections == 3


async def test_a_hub_that_asks_for_more_patience_than_there_is_is_not_waited_for() -> None:
    async with scripted_hub(answering(429, b"slowly\n", "Retry-After: 60")) as hub:
        with pytest.raises(TooManyRequests) as caught:
            await publish(hub.pub, b"x")
    assert caught.value.retry_after_s == 60


async def test_a_hub_that_is_not_there_is_unavailable_and_the_token_stays_secret(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    async with scripted_hub(answering(200)) as gone:
        pass
    with (
        trio.fail_after(20),
        pytest.raises(Unavailable, match=r"cannot publish to http://127.*: Connection refused$") as caught,
    ):
        await publish(gone.pub.replace("127", "s3cret@127"), b"x", patience_s=0)
    assert "s3cret" not in caplog.text + repr(caught.value)


@pytest.mark.parametrize(
    "headers", [[("X-A", "1\r\nX-B: 2")], [("X A", "1")], [("X-Ü", "1")], [("X-A", "\N{SNOWMAN}")]]
)
async def test_what_is_no_header_is_refused(headers: list[tuple[str, str]]) -> None:
    async with scripted_hub(answering(200)) as hub:
        with pytest.raises(Refused, match=r"invalid (name|value) of"):
            await publish(hub.pub, b"x", headers=headers)


async def test_a_url_for_listening_is_refused() -> None:
    with pytest.raises(Refused, match="for listening"):
        await publish("http://hub/sub/a", b"x")


@pytest.mark.slow
async def test_a_hub_that_does_not_answer_in_time_is_unavailable() -> None:
    @on_bytes
    async def silent(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await trio.sleep_forever()

    async with scripted_hub(silent) as hub, httpx.AsyncClient(timeout=0.2) as client:
        with pytest.raises(Unavailable, match=r"no response within 0\.2 s"):
            await Publisher(Address.parse(hub.pub), client, patience_s=0).publish(b"x")


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 100\r\n\r\nOK",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nOK\n",
    ],
)
async def test_what_the_hub_has_stored_is_stored_even_if_the_rest_of_its_response_is_lost(rest: bytes) -> None:
    @on_bytes
    async def stored(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nHookbot-Message-Id: id-1\r\n" + rest)

    async with scripted_hub(stored) as hub:
        assert await publish(hub.pub, b"") == "id-1"
    assert hub.connections == 1


@pytest.mark.parametrize("body", [b"<html>Welcome to nginx!</html>", b'{"ok": true}', b""])
async def test_an_answer_that_is_none_of_a_hub_stores_nothing(body: bytes) -> None:
    async with scripted_hub(answering(200, body)) as hub:
        with pytest.raises(Unavailable, match="but not as a hub does"):
            await publish(hub.pub, b"", patience_s=0)


async def test_a_hub_of_version_0_13_gives_no_id() -> None:
    async with scripted_hub(answering(200, b"OK\n")) as hub:
        assert await publish(hub.pub, b"") == ""


async def test_a_connection_that_the_hub_has_closed_costs_a_publish_nothing() -> None:
    @on_bytes
    async def once(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nHookbot-Message-Id: id-1\r\nContent-Length: 3\r\n\r\nOK\n")
        await read_head(stream)

    async with scripted_hub(once) as hub, open_publisher(hub.pub, patience_s=0) as publisher:
        assert [await publisher.publish(b"") for _ in range(5)] == ["id-1"] * 5
    assert hub.connections == 5
