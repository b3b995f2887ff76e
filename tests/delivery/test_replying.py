"""Handing back what was answered to senders that wait for it."""

from typing import Any, cast

import pytest

from hookbot.client import Messages, Reply
from hookbot.delivery.outcome import Exchange, Failed, Outcome
from hookbot.delivery.replying import replying
from hookbot.protocol.message import Message
from hookbot.protocol.replies import MAX_REPLY_BODY, MAX_REPLY_HEADERS

MESSAGE = Message("t", b"{}", id="abcdefgh-000000000000001", query="reply")


class Waiting:
    """Stands for the messages of a subscription, whose senders wait, or do not."""

    def __init__(self, waits: bool = True) -> None:
        self.replies: list[Reply] = []
        self._waits = waits

    def awaits_reply(self, message: Message) -> bool:
        return self._waits

    def reply(self, message: Message, reply: Reply) -> None:
        assert message is MESSAGE
        self.replies.append(reply)


def answered(status: int = 200, headers: Any = (), body: bytes = b"", *, is_whole: bool = True) -> Outcome:
    return Outcome(f"{status} from x", str(status), 0.1, Exchange((), status, tuple(headers), body, is_whole))


async def handled(outcome: Outcome, waiting: Waiting, *, fails: bool = False) -> Outcome:
    async def work(message: Message, attempt: int) -> Outcome:
        if fails:
            raise Failed(outcome, retry_after_s=7)
        return outcome

    return await replying(work, cast("Messages", waiting))(MESSAGE, 1)


async def test_an_answer_goes_back_with_what_a_sender_may_get_of_it() -> None:
    waiting = Waiting()
    headers = (("Content-Type", "application/json"), ("X-A", "1"), ("Set-Cookie", "a=b"), ("Connection", "close"))

    outcome = await handled(answered(201, headers, b"{}"), waiting)

    assert waiting.replies == [Reply(201, headers[:2], b"{}")]
    assert outcome.handed_back


@pytest.mark.parametrize("status", [302, 404, 503])
async def test_a_refusal_is_an_answer_too_and_then_the_message_is_done(status: int) -> None:
    waiting = Waiting()

    outcome = await handled(answered(status, body=b"no"), waiting, fails=True)

    assert waiting.replies == [Reply(status, (), b"no")]
    assert outcome.result == str(status)


async def test_without_an_answer_the_message_is_tried_again() -> None:
    waiting = Waiting()

    with pytest.raises(Failed):
        await handled(Outcome("no response"), waiting, fails=True)
    done = await handled(Outcome("done"), waiting)

    assert (waiting.replies, done.line) == ([], "done")


async def test_if_nobody_waits_messages_are_handled_as_ever() -> None:
    waiting = Waiting(waits=False)

    with pytest.raises(Failed) as failed:
        await handled(answered(503), waiting, fails=True)
    done = await handled(answered(), waiting)

    assert (waiting.replies, failed.value.retry_after_s, done.line) == ([], 7, "200 from x")


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (answered(body=b"x" * MAX_REPLY_BODY, is_whole=False), "more than 65536 bytes"),
        (answered(headers=[("X-A", "1")] * (MAX_REPLY_HEADERS + 1)), "headers"),
        (answered(999), "status"),
        (answered(407), "proxy"),
    ],
)
async def test_what_does_not_fit_into_a_reply_is_told_and_handled_as_ever(
    outcome: Outcome, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    waiting = Waiting()

    assert await handled(outcome, waiting) is outcome
    with pytest.raises(Failed):
        await handled(outcome, waiting, fails=True)

    assert waiting.replies == []
    assert "is not replied to, and its sender gets the default" in caplog.text
    assert why in caplog.text
