"""Header fields, and questions to a hub's own paths."""

import pytest
import trio

from hookbot.client.address import Address
from hookbot.client.http import ask, encoded, end_to_end
from hookbot.errors import Forbidden, Lost, Refused
from support.scripted_hub import Script, answering, on_bytes, read_head, scripted_hub


def test_header_fields_are_latin_1() -> None:
    assert encoded([("X-A", "ü"), ("x-b", "")]) == [(b"X-A", b"\xfc"), (b"x-b", b"")]


@pytest.mark.parametrize(
    "field", [("X A", "1"), ("", "1"), ("X-Ü", "1"), ("X-A", "s3cret\r\n"), ("X-A", "s3cret\u2603")]
)
def test_what_is_no_header_field_is_refused_without_its_value(field: tuple[str, str]) -> None:
    with pytest.raises(Refused, match="not a valid header") as caught:
        encoded([field])
    assert "s3cret" not in str(caught.value)


def test_fields_of_one_connection_are_not_passed_on() -> None:
    fields = [("Host", "h"), ("Connection", "close, X-Mine"), ("x-mine", "1"), ("TE", "trailers"), ("X-Yours", "2")]
    assert end_to_end(fields) == [("X-Yours", "2")]


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
        (answering(200, b"<html>"), Lost, "is not a hub: its response is not JSON$"),
        (on_bytes(read_head), Lost, "no answer from http://127"),
    ],
)
async def test_a_question_that_is_not_answered_says_why(script: Script, error: type[Exception], says: str) -> None:
    async with scripted_hub(script) as hub:
        with pytest.raises(error, match=says):
            await ask(Address.parse(f"http://127.0.0.1:{hub.port}/hookbot/v1/cursors"))
