"""Requests to a hub's own paths."""

import pytest
import trio

from hookbot.client import http
from hookbot.client.address import Address
from hookbot.client.http import RequestBody, ask, ask_lines, id_in, open_client, rows
from hookbot.errors import ConfigError, Forbidden, Lost
from support.scripted_hub import Script, answering, on_bytes, read_head, response, scripted_hub


async def test_a_question_carries_the_token_and_is_answered_with_json() -> None:
    heads = []

    @on_bytes
    async def script(stream: trio.abc.Stream) -> None:
        heads.append(await read_head(stream))
        await stream.send_all(b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}')

    async with scripted_hub(script) as hub:
        address = Address.parse(f"http://127.0.0.1:{hub.port}/hookbot/v1/cursors", "token")
        assert await ask(address, "DELETE", query={"name": "c"}) == {"a": 1}
    assert heads[0].startswith(b"DELETE /hookbot/v1/cursors?name=c HTTP/1.1\r\n")
    assert b"Basic dG9rZW46" in heads[0]


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        (answering(403, b"not from there\n"), Forbidden, "not from there"),
        (answering(200, b"<html>"), Lost, "is not JSON, or not whole: is it the URL of a hub"),
        (on_bytes(read_head), Lost, "^no response from http://127[^ ]*: the connection was cut$"),
    ],
)
async def test_a_question_that_is_not_answered_says_why(script: Script, error: type[Exception], says: str) -> None:
    async with scripted_hub(script) as hub:
        with pytest.raises(error, match=says):
            await ask(Address.parse(f"http://127.0.0.1:{hub.port}/hookbot/v1/cursors"))


async def test_lines_of_json_are_taken_as_they_come() -> None:
    taken: list[object] = []
    go_on = trio.Event()

    @on_bytes
    async def script(stream: trio.abc.Stream) -> None:
        await read_head(stream)
        await stream.send_all(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{"n":1}\n\r\n')
        await go_on.wait()
        await stream.send_all(b'8\r\n{"n":2}\n\r\n0\r\n\r\n')

    async with scripted_hub(script) as hub:
        address = Address.parse(f"http://127.0.0.1:{hub.port}/hookbot/v1/redeliver", "token")
        async for line in ask_lines(address, "POST", "a key", query={"topic": "a"}):
            taken.append(line)
            go_on.set()

    assert taken == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        (answering(403, b"not from there\n"), Forbidden, "not from there"),
        (answering(200, b"<html>"), Lost, "is not in lines of JSON"),
        (answering(200, b"5\n"), Lost, "is not in lines of JSON"),
        (answering(200, b"[" * 100_000), Lost, "is not in lines of JSON"),
        (answering(200, b" " * (2 << 20) + b"{}"), Lost, "is not in lines of JSON"),
        (on_bytes(read_head), Lost, "^the response from http://127[^ ]* broke off"),
    ],
)
async def test_lines_that_do_not_come_say_why(script: Script, error: type[Exception], says: str) -> None:
    async with scripted_hub(script) as hub:
        address = Address.parse(f"http://127.0.0.1:{hub.port}/hookbot/v1/redeliver")
        with pytest.raises(error, match=says):
            [line async for line in ask_lines(address, "POST", "a key", query={})]


async def test_a_body_is_sent_from_its_beginning_each_time_and_left_unread_without_a_warning() -> None:
    read, unread = RequestBody(b"body"), RequestBody(b"body")

    for _ in range(2):
        assert [chunk async for chunk in read] == [b"body"]
    assert await anext(aiter(unread)) == b"body"


async def test_requests_go_through_the_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    heads = []

    @on_bytes
    async def proxy(stream: trio.abc.Stream) -> None:
        heads.append(await read_head(stream))
        await stream.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        heads.append(await read_head(stream))
        await stream.send_all(response(200, b"{}"))

    async with scripted_hub(proxy) as at:
        monkeypatch.setenv("http_proxy", f"http://user:pass@127.0.0.1:{at.port}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        assert await ask(Address.parse("http://hub.invalid/hookbot/v1/cursors")) == {}

    assert heads[0].startswith(b"CONNECT hub.invalid:80 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNlcjpwYXNz" in heads[0]
    assert heads[1].startswith(b"GET /hookbot/v1/cursors HTTP/1.1\r\n")


def test_a_ca_file_that_cannot_be_read_is_refused_before_connecting() -> None:
    with pytest.raises(ConfigError, match=r"cannot read the CA file '/nowhere\.pem'"):
        open_client(Address.parse("https://hub/"), "/nowhere.pem")


@pytest.mark.parametrize("answer", [None, [], {}, {"id": 5}, {"id": "\x1b[2J"}])
def test_a_response_without_an_id_is_not_that_of_a_hub(answer: object) -> None:
    with pytest.raises(Lost, match="it has no id"):
        id_in(answer)
    assert id_in({"id": "abc"}) == "abc"


@pytest.mark.parametrize("answer", [None, [], 5, {}, {"cursors": 5}, {"cursors": [5]}, {"cursors": [{}, None]}])
def test_a_response_without_rows_is_not_that_of_a_hub(answer: object) -> None:
    with pytest.raises(Lost, match="no list of cursors"):
        rows(answer, "cursors")
    assert rows({"cursors": [{"a": 1}], "more": 5}, "cursors") == [{"a": 1}]


async def test_a_question_asks_for_no_compression_and_reads_no_more_than_it_takes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heads = []

    @on_bytes
    async def endless(stream: trio.abc.Stream) -> None:
        heads.append(await read_head(stream))
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            await stream.send_all(b"[" * 65536)

    monkeypatch.setattr(http, "_ANSWER_S", 0.2)
    async with scripted_hub(endless) as hub:
        with pytest.raises(Lost, match="is not JSON, or not whole"):
            await ask(Address.parse(f"http://127.0.0.1:{hub.port}/hookbot/v1/cursors"))
    assert b"accept-encoding: identity\r\n" in heads[0].lower()
