"""Forwarders: the request that arrives at the target is the one that was posted to the hub."""

import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from hookbot.delivery.forwarder import ForwardOptions, open_forwarder
from hookbot.delivery.outcome import MAX_KEPT_BODY, UNSENDABLE, Exchange, Failed, Outcome
from hookbot.delivery.signer import Signer
from hookbot.delivery.target import Target
from hookbot.errors import ConfigError
from hookbot.protocol.message import Message
from hookbot.signatures import SignedRequest, load_provider
from hookbot.testing import signed_delivery
from support.signature_samples import SAMPLES, Sample, sample_id
from support.targets import Target as Server
from support.targets import target

ID = "abcdefgh-000000000000001"


def make(body: bytes = b"{}", headers: list[tuple[str, str]] | tuple[Any, ...] = (), **fields: Any) -> Message:
    return Message("t", body, tuple(headers), id=ID, **fields)


async def outcome_of(url: str, message: Message, **options: Any) -> Outcome:
    with trio.fail_after(30):
        async with open_forwarder(Target.parse(url), ForwardOptions(hop="forward-test", **options)) as forwarder:
            return await forwarder.post(message, 1)


async def post(url: str, message: Message, **options: Any) -> str:
    return (await outcome_of(url, message, **options)).line


# -- what arrives


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"a=1&b=%20", bytes(range(256)) * 10, "ü\u2028\0".encode(), b"x" * (25 << 20)],
    ids=["empty", "json", "form", "binary", "text", "25 MiB"],
)
async def test_bodies_arrive_as_they_are(body: bytes) -> None:
    async with target() as server:
        await post(server.url, make(body))
    [request] = server.requests
    assert request.body == body
    assert request.all("Content-Length") == [str(len(body))]


async def test_headers_arrive_in_their_order_and_case_repeated_ones_too() -> None:
    headers = [
        ("X-b", "2"), ("x-B", "1"), ("Content-Type", "text/plain; charset=\xfc"), ("Content-Encoding", "gzip"),
        ("X-Empty", ""), ("User-Agent", "GitHub-Hookshot/1"), ("X-b", "3"), ("Accept", "*/*"),
        ("Accept-Encoding", "br"), ("Idempotency-Key", "k"),
    ]  # fmt: skip
    async with target() as server:
        await post(server.url, make(headers=headers))
    [request] = server.requests
    assert request.headers[0] == ("Host", f"127.0.0.1:{server.port}")
    assert request.headers[1 : 1 + len(headers)] == headers
    added = request.headers[1 + len(headers) :]
    assert added == [("Hookbot-Hops", "forward-test"), ("Hookbot-Message-Id", ID), ("Content-Length", "2")]


async def test_what_came_by_get_is_sent_by_get_without_a_body() -> None:
    headers = [("X-A", "1"), ("Hookbot-Method", "GET")]
    async with target() as server:
        for body in (b"", b"{}"):
            await post(f"{server.url}?own=1", make(body, headers, query="reply&signature=a%2Fb"))
    one, other = server.requests
    assert (one.method, one.body) == (b"GET", b"")
    assert one.target.endswith(b"?own=1&reply&signature=a%2Fb")
    assert [one.all(name) for name in ("X-A", "Hookbot-Method", "Content-Length")] == [["1"], [], []]
    # What an older hub has stored may claim it.
    assert (other.method, other.body) == (b"POST", b"{}")


async def test_what_belongs_to_the_first_connection_stays_there() -> None:
    headers = [
        ("Host", "hub.example"), ("Content-Length", "99"), ("Transfer-Encoding", "chunked"),
        ("Connection", "close, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "5"), ("TE", "trailers"), ("Upgrade", "h2c"),
        ("Expect", "100-continue"), ("X-Kept", "1"),
        ("Proxy-Authorization", "Basic eA=="), ("Hookbot-Hops", "liar"),
    ]  # fmt: skip
    async with target() as server:
        await post(server.url, make(headers=headers, hops=("a", "b")))
    [request] = server.requests
    names = [name for name, _ in request.headers]
    assert names == [
        "Host",
        "X-Kept",
        "Hookbot-Hops",
        "Hookbot-Message-Id",
        "User-Agent",
        "Idempotency-Key",
        "Content-Length",
    ]
    assert request.all("Hookbot-Hops") == ["a,b,forward-test"]
    assert request.all("Idempotency-Key") == [ID]


async def test_a_message_that_is_replayed_is_no_repeat() -> None:
    async with target() as server:
        await post(server.url, make(), once=False)
    assert server.requests[0].all("Idempotency-Key") == []


async def test_the_host_can_be_kept_and_headers_set_in_place_of_others() -> None:
    headers = [("host", "hub.example"), ("X-Gitlab-Token", "old"), ("x-gitlab-token", "older")]
    async with target() as server:
        await post(server.url, make(headers=headers), keep_host=True, headers=(("X-GITLAB-TOKEN", "new"), ("X-A", "1")))
    [request] = server.requests
    assert request.all("Host") == ["hub.example"]
    assert request.all("X-Gitlab-Token") == ["new"]
    assert request.all("X-A") == ["1"]


async def test_credentials_of_the_target_reach_it() -> None:
    async with target() as server:
        await post(server.url.replace("//", "//user:pass@"), make())
    assert server.requests[0].all("Authorization") == ["Basic dXNlcjpwYXNz"]


@pytest.mark.parametrize("provider", ["github", "stripe", "slack", "standard-webhooks"])
async def test_the_signature_of_a_provider_still_verifies_at_the_target(provider: str) -> None:
    secret = {"standard-webhooks": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}.get(provider, "secret")
    body = '{"a":  "ü\\u2028"}\r\n'.encode()
    delivery = signed_delivery(provider, secret, body)
    async with target() as server:
        await post(server.url, make(delivery.body, delivery.headers))
    [request] = server.requests
    arrived = SignedRequest(request.body, tuple(request.headers), "POST", server.url)
    assert load_provider(provider).verify(arrived, [secret], now=time.time())


async def test_connections_are_used_again() -> None:
    connections = 0

    class Counting(Server):
        async def serve(self, stream: trio.abc.Stream) -> None:
            nonlocal connections
            connections += 1
            await super().serve(stream)

    async with trio.open_nursery() as nursery:
        server = Counting()
        await server.up(nursery)
        async with open_forwarder(Target.parse(server.url), ForwardOptions(hop="x")) as forwarder:
            for _ in range(5):
                await forwarder.post(make(), 1)
        nursery.cancel_scope.cancel()
    assert (len(server.requests), connections) == (5, 1)


# -- ways there


async def test_a_unix_socket_can_be_a_target(tmp_path: Path) -> None:
    path = str(tmp_path / "app.sock")
    server = Server()
    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(path)
    sock.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, server.serve, [trio.SocketListener(sock)])
        said = await post(f"unix:{path}:/hook?a=1", make(b"through a file", query="b=2"))
        nursery.cancel_scope.cancel()
    assert (server.requests[0].target, server.requests[0].body) == (b"/hook?a=1&b=2", b"through a file")
    assert server.requests[0].all("Host") == ["localhost"]
    assert said.startswith(f"204 No Content from unix:{path}:/hook in")


@asynccontextmanager
async def tls_target(authorizer: trustme.CA, *, ask: bool = False) -> AsyncIterator[tuple[Server, str]]:
    """A target with TLS; with `ask`, only for those who have a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authorizer.issue_cert("localhost").configure_cert(context)
    if ask:
        authorizer.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    server = Server()
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, server.serve, 0, context, host="127.0.0.1", https_compatible=True)
        [listener] = await nursery.start(serve)
        port = listener.transport_listener.socket.getsockname()[1]
        yield server, f"https://localhost:{port}/hook"
        nursery.cancel_scope.cancel()


async def test_a_certificate_is_checked_unless_it_is_said_otherwise(tmp_path: Path) -> None:
    authorizer = trustme.CA()
    authorizer.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with tls_target(authorizer) as (server, url):
        with pytest.raises(Failed, match="certificate is not valid"):
            await post(url, make())
        await post(url, make(), ca_file=tmp_path / "ca.pem")
        await post(url, make(), insecure=True)
    assert len(server.requests) == 2


async def test_a_scheme_that_is_not_that_of_the_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # It could not reach this machine.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    async with tls_target(trustme.CA()) as (_, url):
        with pytest.raises(Failed, match=r"speaks TLS; use https://"):
            await post(url.replace("https:", "http:"), make())
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        with pytest.raises(Failed, match=r"does not speak TLS; use http://"):
            await post(url.replace("http:", "https:"), make())


async def test_a_target_that_asks_for_a_certificate_is_shown_one(tmp_path: Path) -> None:
    authorizer = trustme.CA()
    authorizer.issue_cert("client.example").private_key_and_cert_chain_pem.write_to_path(tmp_path / "me.pem")
    async with tls_target(authorizer, ask=True) as (server, url):
        with pytest.raises(Failed):
            await post(url, make(), insecure=True)
        await post(url, make(), insecure=True, certificate=tmp_path / "me.pem")
    assert len(server.requests) == 1


async def test_a_certificate_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "me.pem").write_text("\ufeffnot a certificate")
    with pytest.raises(ConfigError, match=r"me\.pem"):
        await post("https://localhost/", make(), certificate=tmp_path / "me.pem")


async def test_a_key_with_a_password_is_refused_and_not_asked_for(tmp_path: Path) -> None:
    issued = trustme.CA().issue_cert("client.example")
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"s3cret"))
    (tmp_path / "me.pem").write_bytes(encrypted + issued.cert_chain_pems[0].bytes())
    with pytest.raises(ConfigError, match=r"me\.pem': the key is encrypted"):
        await post("https://localhost/", make(), certificate=tmp_path / "me.pem")


async def test_no_proxy_is_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with target() as server:
        await post(server.url, make())
    assert len(server.requests) == 1


# -- signed for the target


def received(server: Server, origin: str) -> list[SignedRequest]:
    return [
        SignedRequest(request.body, tuple(request.headers), "POST", origin + request.target.decode())
        for request in server.requests
    ]


@pytest.mark.parametrize(
    "sample",
    [s for s in SAMPLES if s.name not in ("aws-sns", "paypal")],
    ids=sample_id,
)
async def test_what_is_signed_is_genuine_at_the_target_and_so_is_the_next_attempt(sample: Sample) -> None:
    old = sample.signed()
    message = make(old.body, list(old.headers), query=old.query)
    times = [1_800_000_000.0, 1_800_100_000.0]
    signer = Signer(sample.provider, sample.signing or sample.secret, iter(times).__next__)

    async with (
        target() as server,
        open_forwarder(Target.parse(f"{server.url}?own=1"), ForwardOptions("hop", signer=signer)) as forwarder,
    ):
        for attempt in (1, 2):
            await forwarder.post(message, attempt)

    for request, now in zip(received(server, f"http://127.0.0.1:{server.port}"), times, strict=True):
        assert sample.provider.verify(request, [sample.secret], now=now)
        assert request.need("Content-Length") == str(len(request.body))


@pytest.mark.parametrize(
    ("options", "host"),
    [
        ({}, None),
        ({"keep_host": True}, "hub.example.com"),
        ({"headers": (("host", "shop.example.com:8443"),)}, "shop.example.com:8443"),
    ],
)
async def test_a_signed_url_has_the_host_that_the_target_is_told(options: dict[str, Any], host: str | None) -> None:
    square = load_provider("square")
    message = make(headers=[("Host", "hub.example.com")], query="a=%20&b")

    async with target() as server:
        await post(server.url, message, signer=Signer(square, "secret"), **options)

    [request] = received(server, f"http://{host or f'127.0.0.1:{server.port}'}")
    assert square.verify(request, ["secret"], now=0)


async def test_a_secret_that_is_presented_is_told_to_nobody_else() -> None:
    signer = Signer(load_provider("header"), "s3cret")
    answer = b"HTTP/1.1 204 \r\nContent-Length: 0\r\n\r\n"
    async with answering(answer) as url:
        told = await exchange(url, signer=signer, headers=(("X-Key", "s3cret"),))
    assert "s3cret" not in str(told.request_headers)


async def test_what_cannot_be_signed_is_never_sent() -> None:
    signer = Signer(load_provider("linear"), "secret")
    async with target() as server:
        with pytest.raises(Failed, match="cannot be posted: 'webhookTimestamp' is put into the body") as failed:
            await post(server.url, make(b"not JSON"), signer=signer)
    assert failed.value.outcome.result == UNSENDABLE
    assert server.requests == []


# -- what goes wrong


@pytest.mark.parametrize(("status", "title"), [(200, "200 OK"), (204, "204 No Content"), (218, "218"), (299, "299")])
async def test_only_2xx_is_done_whether_it_has_a_name_or_not(status: int, title: str) -> None:
    async with target(status) as server:
        assert (await post(server.url, make())).startswith(f"{title} from http://")


@pytest.mark.parametrize("status", [300, 301, 308, 399, 400, 404, 410, 419, 422, 499, 500, 502, 520, 600, 799, 999])
async def test_everything_else_failed(status: int) -> None:
    async with target(status) as server:
        with pytest.raises(Failed, match=f"http://127.0.0.1:{server.port}/hook answered {status}"):
            await post(server.url, make())


@asynccontextmanager
async def answering(*parts: bytes, then: Callable[[], Awaitable[object]] | None = None) -> AsyncIterator[str]:
    """URL of a target that answers each request with these bytes, and then closes the connection, or does `then`."""

    async def answer(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            await stream.receive_some()
            for part in parts:
                await stream.send_all(part)
            if then:
                await then()
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        yield f"http://127.0.0.1:{listener.socket.getsockname()[1]}/"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "first",
    [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b"HTTP/1.1 199 \r\n\r\n"],
)
@pytest.mark.parametrize("count", [1, 3])
async def test_informational_responses_are_not_the_answer(first: bytes, count: int) -> None:
    async with answering(first * count, b"HTTP/1.1 201 Made\r\nContent-Length: 0\r\n\r\n") as url:
        assert (await post(url, make())).startswith("201 Created from")


@pytest.mark.parametrize("phrase", [b"", b" ", b" OK\xff\xfe", b" \tVery  well ", b" {}%s|", b" " + b"x" * 9000])
async def test_a_reason_phrase_does_not_matter(phrase: bytes) -> None:
    async with answering(b"HTTP/1.1 200" + phrase + b"\r\nContent-Length: 0\r\n\r\n") as url:
        assert (await post(url, make())).startswith("200 OK from")


@pytest.mark.parametrize("status", [b"200", b"202", b"218"])
@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 100\r\n\r\nok",
        b"Content-Length: 100\r\n\r\n",
        b"Content-Length: 1\r\n\r\nmore than that",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nplain",
        b"Content-Encoding: br\r\n\r\nno length, and not compressed",
        b"Location: http://[broken\r\nContent-Type: ;;;\r\nContent-Length: 0\r\n\r\n",
        b"Content-Length: many\r\n\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        b"no header\r\n\r\n",
        b"X-Cut: ",
    ],
)
async def test_a_success_is_one_whatever_becomes_of_what_stands_behind_its_status(status: bytes, rest: bytes) -> None:
    async with answering(b"HTTP/1.1 " + status + b" \r\n" + rest) as url:
        assert (await post(url, make())).startswith(status.decode())


async def exchange(url: str, **options: Any) -> Exchange:
    found = (await outcome_of(url, make(headers=[("X-A", "1")]), **options)).exchange
    assert found
    return found


async def test_what_was_sent_and_answered_is_told_without_the_credentials_of_the_target() -> None:
    answer = b"HTTP/1.1 200 OK\r\nX-B: 2\r\nX-B: 3\r\nContent-Length: 2\r\n\r\nok"
    async with answering(answer) as url:
        told = await exchange(url.replace("//", "//user:s3cret@"))
    assert (told.status, told.body, told.is_whole) == (200, b"ok", True)
    assert told.headers == (("X-B", "2"), ("X-B", "3"), ("Content-Length", "2"))
    assert {("X-A", "1"), ("Hookbot-Hops", "forward-test"), ("Content-Length", "2")} <= set(told.request_headers)
    assert "authorization" not in {name.lower() for name, _ in told.request_headers}


async def test_a_refusal_has_its_exchange_too() -> None:
    async with target((503, ("Retry-After", "7"))) as server:
        with pytest.raises(Failed) as failed:
            await post(server.url, make())
    outcome = failed.value.outcome
    assert outcome.result == "503"
    assert outcome.seconds > 0
    assert outcome.exchange
    assert (outcome.exchange.body, outcome.exchange.is_whole) == (b"because", True)


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 100\r\n\r\nok",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"Content-Length: many\r\n\r\nok",
        b"X-Cut: ",
        b"Content-Length: %d\r\n\r\n" % (MAX_KEPT_BODY + 1) + b"x" * (MAX_KEPT_BODY + 1),
    ],
)
async def test_what_is_told_of_a_body_may_not_be_all_of_it(rest: bytes) -> None:
    async with answering(b"HTTP/1.1 200 OK\r\n" + rest) as url:
        told = await exchange(url)
    assert not told.is_whole
    assert len(told.body) <= MAX_KEPT_BODY


async def test_a_success_is_one_even_if_its_body_stalls_beyond_the_timeout() -> None:
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", then=trio.sleep_forever) as url:
        assert (await post(url, make(), timeout_s=5, drain_s=0.01)).startswith("200 OK")


async def test_a_refusal_whose_body_breaks_off_keeps_its_status_and_its_reason() -> None:
    async with answering(b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 99\r\n\r\ntoo busy\n") as url:
        with pytest.raises(Failed, match="answered 503 too busy") as failed:
            await post(url, make())
    assert failed.value.retry_after_s == 7


async def test_the_target_may_ask_to_wait() -> None:
    async with target((503, ("Retry-After", "7")), (429, ("Retry-After", "100000"))) as server:
        for seconds in (7, 300):
            with pytest.raises(Failed, match="because") as failed:
                await post(server.url, make())
            assert failed.value.retry_after_s == seconds


@pytest.mark.slow
async def test_a_target_that_does_not_answer_is_not_waited_for_for_ever() -> None:
    async with target(None) as server:
        with pytest.raises(Failed, match=r"no response from .* within 0.2 s"):
            await post(server.url, make(), timeout_s=0.2)


async def test_a_target_that_is_not_there_failed() -> None:
    async with target() as server:
        server.down()
        with pytest.raises(Failed, match="Connection refused"):
            await post(server.url, make())


async def test_a_target_that_hangs_up_failed() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(trio.serve_tcp, hang_up, 0, host="127.0.0.1"))
        with pytest.raises(Failed):
            await post(f"http://127.0.0.1:{listener.socket.getsockname()[1]}/", make())
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("status", [200, 404])
async def test_an_answer_without_end_is_read_only_so_far(status: int) -> None:
    head = b"HTTP/1.1 %d \r\nContent-Length: 100000000000\r\n\r\n" % status
    async with answering(head, *[b"x" * 65536] * 1000000) as url:
        if status == 200:
            assert (await post(url, make(), drain_s=0.1)).startswith("200 OK")
        else:
            with pytest.raises(Failed, match="answered 404 x"):
                await post(url, make(), drain_s=0.1)


@pytest.mark.parametrize("header", [("X-A", "1\r\nX-B: 2"), ("X A", "1"), ("X-A", "\u2028")])
async def test_headers_that_would_be_something_else_there_are_not_sent(header: tuple[str, str]) -> None:
    async with target() as server:
        with pytest.raises(Failed, match="cannot be posted"):
            await post(server.url, make(headers=[header]))
    assert server.requests == []


async def test_a_message_without_an_id_is_posted_without_the_headers_that_would_name_it() -> None:
    async with target() as server:
        await post(server.url, Message("t", b"{}"))
    [request] = server.requests
    assert request.all("Hookbot-Message-Id") == request.all("Idempotency-Key") == []


async def test_a_target_with_a_name_is_reached_through_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with target() as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        await post("http://target.invalid/hook", make(b"1"))
    [request] = proxy.requests
    assert (request.body, request.all("Host")) == (b"1", ["target.invalid"])


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Function that makes a proxy that of the environment."""
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)

    def set_proxy(url: str) -> None:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, url.replace("//", "//user:s3cret@"))

    return set_proxy


@pytest.mark.parametrize("status", [b"401", b"403", b"407", b"502", b"504"])
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_failure_of_a_proxy_is_not_taken_for_the_targets(
    proxied: Callable[[str], None], status: bytes, scheme: str
) -> None:
    async with answering(b"HTTP/1.1 " + status + b" No\r\nContent-Length: 0\r\n\r\n") as proxy:
        proxied(proxy)
        with pytest.raises(Failed, match=f"the proxy {proxy[7:-1]}.*{status.decode()}") as failed:
            await post(f"{scheme}://target.invalid/hook", make())
    assert "s3cret" not in str(failed.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_is_silent_or_gone_is_named(proxied: Callable[[str], None], scheme: str) -> None:
    for answer in (b"", b"\0\1\2\r\n\r\n"):
        async with answering(answer) as proxy:
            proxied(proxy)
            with pytest.raises(Failed, match=f"the proxy {proxy[7:-1]}( gave no (valid )?response)?: "):
                await post(f"{scheme}://target.invalid/hook", make())
    async with answering(then=trio.sleep_forever) as proxy:
        proxied(proxy)
        with pytest.raises(Failed, match=f"no response from .*the proxy {proxy[7:-1]} within"):
            await post(f"{scheme}://target.invalid/hook", make(), timeout_s=0.1)
    with pytest.raises(Failed, match=f"cannot connect to the proxy {proxy[7:-1]}: Connection refused"):
        await post(f"{scheme}://target.invalid/hook", make())
