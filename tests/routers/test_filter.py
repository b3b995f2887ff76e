import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import trio

from hookbot.broker.broker import Broker
from hookbot.errors import BodyTooLarge, ConfigError
from hookbot.protocol.bodies import UNTRUSTED
from hookbot.protocol.expressions import Expression
from hookbot.protocol.message import Draft, Message
from hookbot.routers import filter as filter_module
from hookbot.routers.filter import FilterRouter
from hookbot.routers.large_messages import SMALL_BYTES
from hookbot.routers.outbox import DraftCollector
from hookbot.routers.runner import RouterSpec, open_routers

PUSH = Message(
    "github.com/repo/acme/app",
    b'{"ref": "refs/heads/main", "after": "abc", "repository": {"full_name": "acme/app"}}',
    (("X-GitHub-Event", "push"),),
    "extra-metadata=github",
    id="abcdefgh-000000000000001",
)


async def routed(message: Message = PUSH, **options: Any) -> list[Draft]:
    publisher = DraftCollector("filter", message)
    await FilterRouter(**{"reads": ["github.com/repo/"], "topic": "copy"} | options).route(message, publisher)
    return list(publisher.published.values())


async def test_what_meets_the_condition_is_passed_on_whole_where_the_template_says() -> None:
    [draft] = await routed(topic="deploy/{body.repository.full_name}", where="body.ref == 'refs/heads/main'")

    assert draft.topic == "deploy/acme/app"
    assert (draft.body, draft.headers, draft.query) == (PUSH.body, PUSH.headers, PUSH.query)


async def test_what_does_not_meet_the_condition_is_dropped() -> None:
    assert await routed(where="body.ref == 'refs/heads/next'") == []


async def test_a_body_can_be_reshaped_to_json_or_to_text() -> None:
    [shaped] = await routed(body="{repo: body.repository.full_name, sha: body.after}")
    [text] = await routed(body="join('@', [body.repository.full_name, body.after])")

    assert json.loads(shaped.body) == {"repo": "acme/app", "sha": "abc"}
    assert (shaped.headers, shaped.query) == ((("Content-Type", "application/json"),), "")
    assert text.body == b"acme/app@abc"
    assert text.headers == (("Content-Type", "text/plain; charset=utf-8"),)


async def test_a_new_body_has_numbers_as_they_were_written() -> None:
    text = b'{"n":12345678901234567890.25,"m":[1.10,1e400,-0],"m":{"x":1.0}}'
    message = Message("in", text, (("Content-Type", "application/x-www-form-urlencoded"),))

    [whole] = await routed(message, body="body")
    [shaped] = await routed(message, body="{n: body.n, x: body.m.x}")

    assert whole.body == text
    assert shaped.body == b'{"n":12345678901234567890.25,"x":1.0}'


@pytest.mark.parametrize("body", ["`[1e400]`", "{x: sum(body)}", "{x: to_string(sum(body))}"])
async def test_what_would_not_be_json_is_not_published(body: str) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        await routed(Message("in", b"[1e308, 1e308]"), body=body)


@pytest.mark.parametrize(("message", "in_loop"), [(PUSH, True), (replace(PUSH, query="x" * SMALL_BYTES), False)])
async def test_a_large_message_does_not_hold_up_the_hub(
    message: Message, in_loop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Seen(Expression):
        def holds(self, document: Mapping[str, Any], *, steps: int | None = None) -> bool:
            seen.append(trio.lowlevel.in_trio_task())
            return super().holds(document, steps=steps)

    seen: list[bool] = []
    monkeypatch.setattr(filter_module, "Expression", Seen)

    assert len(await routed(message, where="body.after == 'abc'")) == 1
    assert seen == [in_loop]


async def test_a_body_beyond_the_ceiling_fails_only_where_the_filter_reads_the_body() -> None:
    message = Message("/unsafe/in", b"[" + b"0," * UNTRUSTED.values + b"0]")

    with pytest.raises(BodyTooLarge, match="more than 100000 values"):
        await routed(message, where="length(body) > `0`")
    assert len(await routed(message, where="topic == '/unsafe/in'")) == 1


async def test_mistakes_in_the_configuration_stop_the_hub_from_starting(broker: Broker) -> None:
    mistakes: list[tuple[dict[str, Any], str]] = [
        ({"topic": "copy"}, "router x: the option 'reads' is missing"),
        ({"reads": ["in/"], "topic": "{nobody}"}, "router x: a message has no 'nobody'"),
        ({"reads": ["in/"], "topic": "copy", "where": "("}, "router x: not a JMESPath expression"),
        ({"reads": [], "topic": "copy"}, "router x: its `topics` must be a tuple"),
        (
            {"reads": ["in/"], "topic": "/pub/{body.name}"},
            "router x: the topic '/pub/{body.name}' is none to publish to",
        ),
        ({"reads": ["in/"], "topic": "https://hub.example/pub/a"}, "router x: the topic 'https:.*empty"),
        ({"reads": ["in/"], "topic": "hookbot/a"}, "router x: the topic 'hookbot/a' .* only the hub itself"),
    ]
    for options, error in mistakes:
        with pytest.raises(ConfigError, match=error):
            async with open_routers(broker, [RouterSpec("x", "filter", options)], str):
                pass


async def test_two_filters_route_one_message_to_two_places(hub: Any) -> None:
    specs = [RouterSpec(name, "filter", {"reads": ["in/"], "topic": f"{name}/{{body.x}}"}) for name in ("a", "b")]
    async with open_routers(hub.broker, specs, str):
        await hub.publish("in/1", b'{"x": 1}')
        [[a], [b]] = await hub.wait_for("a/"), await hub.wait_for("b/")
    assert (a.topic, b.topic) == ("a/1", "b/1")
