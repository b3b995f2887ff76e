"""Options of commands that listen: which messages they get, with which token, and how such a command ends."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import trio

from hookbot.cli.subscribe_options import SubscribeOptions, run, take_url, with_query
from hookbot.client import Gap, Timing
from hookbot.delivery.shutdown import Stop
from hookbot.errors import Lost
from hookbot.protocol.bodies import UNTRUSTED
from hookbot.testing.hub import TestHub
from support.commands import Caller
from support.hubs import ThreadHub
from support.scripted_hub import Peer, scripted_hub

pytestmark = pytest.mark.usefixtures("environment")

HISTORY = ("listen", "--raw", "--since", "all")
OPTIONS: dict[str, Any] = {
    "since": "all",
    "cursor": None,
    "group": None,
    "unsafe": False,
    "where": None,
    "limit": None,
    "token_file": None,
    "ca_file": None,
    "quiet": True,
    "timing": Timing(),
}


def options(**changed: Any) -> SubscribeOptions:
    return SubscribeOptions(**OPTIONS | changed)


# -- which messages


def test_only_messages_for_which_the_expression_holds_are_wanted(
    thread: ThreadHub, topic: str, sub: str, call: Caller
) -> None:
    thread.publish(topic, b'{"n":1}', b'{"n":2}')
    assert call(*HISTORY, "--no-follow", "--where", "body.n > `1`", sub)[:2] == (0, b'{"n":2}')


def test_an_expression_that_cannot_be_applied_does_not_hold_and_is_reported(
    thread: ThreadHub, topic: str, sub: str, call: Caller
) -> None:
    thread.publish(topic, b'{"n":"x"}', b'{"n":-1}')
    code, out, err = call(*HISTORY, "--no-follow", "--where", "abs(body.n) == `1`", sub)
    assert (code, out) == (0, b'{"n":-1}')
    assert "--where failed" in err


@pytest.mark.parametrize("body", [b"[1e400]", b"[%s0]" % (b"0," * UNTRUSTED.values), b"[" * 100_000, b'{"n": "\xff"}'])
def test_no_body_ends_the_command(thread: ThreadHub, topic: str, call: Caller, body: bytes) -> None:
    thread.publish(f"/unsafe/{topic}", body, b"[1]")
    url = thread.url_for(f"/unsafe/sub/{topic}")

    assert call(*HISTORY, "--unsafe", "--no-follow", "--where", "floor(body[0]) == `1`", url)[:2] == (0, b"[1]")


def test_an_unsafe_topic_needs_the_option_that_admits_it(thread: ThreadHub, topic: str, call: Caller) -> None:
    thread.publish(f"/unsafe/{topic}", b"1")
    url = thread.url_for(f"/unsafe/sub/{topic}")

    code, _, err = call(*HISTORY, "-n", "1", url)

    assert (code, "add --unsafe" in err) == (3, True)
    assert call(*HISTORY, "--unsafe", "-n", "1", url)[:2] == (0, b"1")


# -- with which URL and token


@pytest.mark.slow
def test_tokens_come_from_the_environment_or_a_file_and_are_never_shown(
    thread: ThreadHub, topic: str, sub: str, call: Caller, tmp_path: Path
) -> None:
    thread.publish(topic, b"1")
    token = sub.partition("//")[2].partition("@")[0]
    (tmp_path / "token").write_text(f"{token}\n")
    bare, options = f"{thread.url}/sub/{topic}", (*HISTORY, "--limit", "1")
    for words, env in (
        ([*options, bare], {"HOOKBOT_TOKEN": token}),
        ([*options, bare], {"HOOKBOT_TOKEN_FILE": str(tmp_path / "token")}),
        ([*options, "--token-file", tmp_path / "token", bare], {}),
        (options, {"HOOKBOT_URL": sub}),
        ([*options, sub], {"HOOKBOT_TOKEN": "wrong"}),
    ):
        code, out, err = call(*words, **env)
        assert (code, out) == (0, b"1"), err
        assert token[:8] not in err


def test_the_url_is_the_first_word_or_in_the_environment(environment: pytest.MonkeyPatch) -> None:
    assert take_url(("http://h/sub/a", "sh"), True) == ("http://h/sub/a", ("sh",))
    with pytest.raises(click.UsageError, match="HOOKBOT_URL"):
        take_url(("sh",), False)

    environment.setenv("HOOKBOT_URL", "http://h/sub/b")

    assert take_url(("sh",), False) == ("http://h/sub/b", ("sh",))
    assert take_url((), True) == ("http://h/sub/b", ())


@pytest.mark.parametrize(
    ("url", "query", "result"),
    [
        ("http://h/sub/a", "", "http://h/sub/a"),
        ("http://h/sub/a", "order=newest", "http://h/sub/a?order=newest"),
        ("http://h/sub/a?since=2h", "order=newest", "http://h/sub/a?since=2h&order=newest"),
    ],
)
def test_a_query_is_appended_to_that_of_the_url(url: str, query: str, result: str) -> None:
    assert with_query(url, query) == result


@pytest.mark.parametrize(
    ("group", "query", "timeout_s", "asked"),
    [
        ("g", "", 600, "630s"),
        ("g", "", 90_000, "43200s"),
        ("g", "?ack_timeout=5s", 600, "5s"),
        ("g", "", 0, None),
        (None, "", 600, None),
    ],
)
async def test_a_group_waits_longer_for_an_acknowledgement_than_an_attempt_takes(
    group: str | None, query: str, timeout_s: float, asked: str | None
) -> None:
    async def script(peer: Peer) -> None:
        await peer.hello(0)
        await peer.stay()

    async with scripted_hub(script) as hub:
        async with options(group=group).open(hub.url + query, ack_timeout_s=timeout_s):
            pass
        assert hub.peers[0].query.get("ack_timeout") == asked


# -- how it ends


@pytest.mark.slow
@pytest.mark.parametrize("patience_s", [0, 0.05])
async def test_a_hub_that_cannot_be_reached_is_given_up_unless_it_is_followed(patience_s: float) -> None:
    url = "http://127.0.0.1:1/sub/a"
    with pytest.raises(Lost, match=f"^{url}: cannot connect to 127.0.0.1:1: Connection refused$"):
        async with options().open(url, follow=False, patience_s=patience_s) as messages:
            await anext(messages)

    with trio.move_on_after(0.2) as waiting:
        async with options().open(url, patience_s=patience_s) as messages:
            await anext(messages)
    assert waiting.cancelled_caught


async def test_a_hub_that_comes_back_in_time_is_not_given_up(hub: TestHub) -> None:
    await hub.publish("a", b"1")
    async with options().open(hub.url_for("/sub/a"), follow=False, patience_s=0) as messages:
        message = await anext(messages)
        assert not isinstance(message, Gap)
        assert message.body == b"1"


def test_a_signal_is_no_normal_end() -> None:
    async def interrupted(stop: Stop) -> None:
        stop.ask()
        await trio.sleep_forever()

    with pytest.raises(click.exceptions.Abort):
        run(interrupted)


@pytest.mark.slow
def test_listeners_load_no_server() -> None:
    modules = [
        f"hookbot.cli.{name}" for name in ("listen", "publish", "forward", "exec", "replay", "doctor", "cursors")
    ]
    server = (
        "hookbot.hub.hub",
        "hookbot.web",
        "hookbot.broker",
        "hookbot.log.sqlite",
        "quart",
        "hypercorn",
        "cryptography",
    )
    code = f"import {', '.join(modules)}, sys; print([name for name in {server} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"
