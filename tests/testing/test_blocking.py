"""A hub in a thread, for tests that block."""

from collections.abc import Sequence
from concurrent.futures import CancelledError

import httpx
import pytest
import trio

from hookbot import blocking
from hookbot.errors import ConfigError
from hookbot.protocol.message import Message
from hookbot.routers import Publish
from hookbot.testing import signed_delivery, threaded_hub

SOURCE = {"topic": "/unsafe/stripe", "provider": "stripe", "secrets": ["whsec_test"]}


class KindRouter:
    name = "kind"
    topics: Sequence[str] = ("in/",)

    async def route(self, message: Message, publish: Publish) -> None:
        await publish(f"kind/{message.json()['kind']}", message.body)


def test_a_hub_takes_what_is_posted_and_tells_listeners() -> None:
    with threaded_hub() as hub:
        with blocking.listen(hub.url_for("/sub/a")) as messages:
            assert httpx.post(hub.url_for("/pub/a"), content=b"1").status_code == 200
            hub.publish("a", b"2", {"X-A": "1"})
            heard = [next(messages), next(messages)]

        assert heard == hub.wait_for("a", 2)


def test_routers_run_and_sources_are_verified() -> None:
    with threaded_hub(KindRouter(), sources=[SOURCE]) as hub:
        statuses = []
        for secret in ("whsec_test", "whsec_other"):
            delivery = signed_delivery("stripe", secret)
            url = f"{hub.url}/unsafe/pub/stripe"
            statuses.append(httpx.post(url, content=delivery.body, headers=list(delivery.headers)).status_code)
        hub.publish("in/a", b'{"kind": "x"}')

        assert statuses == [200, 401]
        assert hub.wait_for("/unsafe/stripe")[0].verified
        assert hub.wait_for("kind/x")[0].hops == ("kind",)


def test_messages_are_played_in_their_order_with_what_they_are_known_by() -> None:
    with threaded_hub() as first:
        first.publish("a", b"1", {"X-A": "1"}, verified="github", query="x=1")
        first.publish("/unsafe/b", b"2")
        messages = [*first.wait_for("a"), *first.wait_for("/unsafe/b")]
    with threaded_hub() as second:
        second.play(messages)
        played = [*second.wait_for("a"), *second.wait_for("/unsafe/b")]

    for before, after in zip(messages, played, strict=True):
        assert before.id != after.id
        assert (after.topic, after.body, after.headers) == (before.topic, before.body, before.headers)
        assert (after.query, after.verified) == (before.query, before.verified)


@pytest.mark.parametrize(("count", "said"), [(1, "no message on 'a' within 0.05 s"), (3, "fewer than 3 messages")])
def test_what_does_not_come_is_told(count: int, said: str) -> None:
    with threaded_hub() as hub:
        hub.publish("b")
        with pytest.raises(TimeoutError, match=said):
            hub.wait_for("a", count, timeout_s=0.05)
        hub.publish("a")
        assert len(hub.wait_for("a")) == 1


async def test_a_test_on_trio_may_use_it_too() -> None:
    with threaded_hub() as hub:
        hub.publish("a", b"1")
        [message] = await trio.to_thread.run_sync(hub.wait_for, "a")

    assert message.body == b"1"


def test_a_hub_that_cannot_start_says_why() -> None:
    with (
        pytest.raises(ConfigError, match="a source needs at least one secret"),
        threaded_hub(sources=[{**SOURCE, "secrets": []}]),
    ):
        pass


def test_an_error_of_the_block_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"), threaded_hub():
        raise KeyError("mine")


def test_a_crash_of_the_hub_ends_what_waits_for_it_and_is_raised_at_the_end() -> None:
    async def crash() -> None:
        raise ZeroDivisionError("a bug")

    def wait_while_it_crashes() -> None:
        with threaded_hub() as hub:
            hub._trio.run_sync_soon(hub._nursery.start_soon, crash)
            with pytest.raises((CancelledError, trio.RunFinishedError)):
                hub.wait_for("b")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        wait_while_it_crashes()
