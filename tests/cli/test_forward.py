"""``hookbot forward``, with a hub in this process and a real target."""

import json
import signal
import time
from pathlib import Path

import pytest

from hookbot import blocking
from hookbot.client.address import Address
from hookbot.client.http import ask
from hookbot.protocol.envelope import from_envelope
from hookbot.signatures import SignedRequest, load_provider
from hookbot.testing.hub import TestHub
from support.commands import Caller, run, running, starting
from support.hubs import ThreadHub
from support.targets import target

BODIES = [b"", b"{}", b"a=1&b=%20", bytes(range(256)), b"x" * (25 << 20)]
HISTORY = ("forward", "--since", "all", "--limit")


@pytest.mark.slow
def test_what_is_posted_to_the_hub_arrives_at_the_target_as_it_was(thread: ThreadHub, call: Caller) -> None:
    headers = [("X-A", "1"), ("x-a", "2"), ("Content-Type", "text/x; charset=ü"), ("X-Hub-Signature-256", "sha256=00")]
    for body in BODIES:
        blocking.publish(thread.url_for("/pub/as/was") + "?q=%5B1", body, headers=headers)
    server = thread.target()
    code, out, said = call(*HISTORY, len(BODIES), thread.url_for("/sub/as/"), server.url + "?own=1")
    assert (code, out) == (0, b"")
    assert [request.body for request in server.requests] == BODIES
    for request in server.requests:
        assert request.target == b"/hook?own=1&q=%5B1"
        assert [pair for pair in request.headers if pair in headers] == headers
    assert said.count("  204  ") == len(BODIES)
    assert f"forwarding to {server.url}\n" in said


@pytest.mark.slow
def test_the_options_of_the_target_reach_it(thread: ThreadHub, call: Caller, tmp_path: Path) -> None:
    (tmp_path / "headers").write_text("X-Gitlab-Token: secret\n")
    blocking.publish(thread.url_for("/pub/options"), b"1")
    server = thread.target()
    options = ("--keep-host", "--header", f"@{tmp_path}/headers", "-H", "X-B: 2")
    call(*HISTORY, 1, *options, thread.url_for("/sub/options"), server.url)
    [request] = server.requests
    assert request.all("Host") == [thread.url.removeprefix("http://")]
    assert request.all("X-Gitlab-Token") == ["secret"]
    assert request.all("X-B") == ["2"]


@pytest.mark.slow
def test_what_is_tried_often_enough_is_kept_in_a_file_or_a_topic_or_ends_it(
    thread: ThreadHub, call: Caller, tmp_path: Path
) -> None:
    thread.publish("again", b"\xff", b"2")
    words = (*HISTORY, 2, "--max-attempts", "2", thread.url_for("/sub/again"))

    to_file, to_topic, stopping = (thread.target(500, 500, 204) for _ in range(3))
    assert call(*words, "--dead-letter", tmp_path / "dead", to_file.url)[0] == 0
    assert call(*words, "--dead-letter", thread.url_for("/pub/dead"), to_topic.url)[0] == 0
    code, _, said = call(*words, "--dead-letter", "stop", stopping.url)

    [line] = (tmp_path / "dead").read_text().splitlines()
    [dead] = thread.wait_for("dead")
    assert from_envelope(json.loads(line)).body == dead.body == b"\xff"
    assert "500" in (dead.header("Hookbot-Failure") or "")
    assert [len(server.requests) for server in (to_file, to_topic, stopping)] == [3, 3, 2]
    assert code == 1
    assert "gives up on again" in said


def test_what_the_target_refuses_for_good_holds_up_nothing_and_is_kept_in_a_file_of_its_own(
    thread: ThreadHub, call: Caller, state_directory: Path
) -> None:
    thread.publish("refused", b"1", b"2", b"3")
    server = thread.target(400, 404, 204, 422)
    words = (*HISTORY, 3, "--cursor", "refusing", thread.url_for("/sub/refused"))

    code, _, said = call(*words, server.url)

    assert code == 0
    assert [request.body for request in server.requests] == [b"1", b"2", b"2", b"3"]
    [kept] = (state_directory / "dead-letters").glob("refusing-forward-*.jsonl")
    assert said.count(f"given up after 1 attempt and kept in {kept}") == 2
    assert "; trying again in" in said
    assert "; 1 waits behind it" in said
    assert [from_envelope(json.loads(line)).body for line in kept.read_text().splitlines()] == [b"1", b"3"]
    assert kept.stat().st_mode & 0o777 == 0o600
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def test_which_statuses_are_final_can_be_said(thread: ThreadHub, call: Caller, tmp_path: Path) -> None:
    thread.publish("final", b"1", b"2")
    words = (*HISTORY, 2, "--dead-letter", tmp_path / "dead", thread.url_for("/sub/final"))
    server, patient = thread.target(404, 400), thread.target(400, 400)

    assert call(*words, "--give-up-on", "404, 401", server.url)[0] == 0
    assert call(*words, "--max-attempts", "9", "--give-up-on", "none", patient.url)[0] == 0

    assert [request.body for request in server.requests] == [b"1", b"2", b"2"]
    assert [request.body for request in patient.requests] == [b"1", b"1", b"1", b"2"]
    assert len((tmp_path / "dead").read_text().splitlines()) == 1


def test_each_attempt_is_signed_for_the_target(thread: ThreadHub, call: Caller) -> None:
    thread.publish("signed", b"{}", headers={"Stripe-Signature": "t=1,v1=00"})
    server = thread.target(500)

    words = (*HISTORY, 1, "--sign", "stripe", "--secret", "env:STRIPE", thread.url_for("/sub/signed"))
    code, _, said = call(*words, server.url, STRIPE="whsec_test")

    assert code == 0
    assert "whsec_test" not in said
    for request in server.requests:
        signed = SignedRequest(request.body, tuple(request.headers))
        assert load_provider("stripe").verify(signed, ["whsec_test"], now=time.time())
    assert len(server.requests) == 2


def test_who_has_nowhere_to_keep_anything_is_told_and_gives_up_nothing(
    thread: ThreadHub, call: Caller, tmp_path: Path
) -> None:
    thread.publish("nowhere", b"1")
    (tmp_path / "file").touch()
    server = thread.target(400)
    words = (*HISTORY, 1, "--cursor", "nowhere", thread.url_for("/sub/nowhere"))

    code, _, said = call(*words, server.url, HOOKBOT_DATA_DIR=str(tmp_path / "file" / "state"))

    assert code == 0
    assert "there is no place for dead letters, so --give-up-on is ignored: cannot make the directory" in said
    assert [request.body for request in server.requests] == [b"1", b"1"]


def test_only_what_the_expression_holds_for_is_posted(thread: ThreadHub, call: Caller) -> None:
    thread.publish("only", b"0", b"1", b"2", b"3")
    server = thread.target()
    call(*HISTORY, 1, "--where", "body > `1`", thread.url_for("/sub/only"), server.url)
    assert [request.body for request in server.requests] == [b"2"]


def test_a_target_may_be_told_alone_where_the_hub_is_known(thread: ThreadHub, call: Caller) -> None:
    thread.publish("known", b"1")
    server = thread.target()
    call(*HISTORY, 1, server.url, HOOKBOT_URL=thread.url_for("/sub/known"))
    assert [request.body for request in server.requests] == [b"1"]


@pytest.mark.slow
async def test_ctrl_c_finishes_the_message_in_hand_and_leaves_the_others_to_the_cursor(hub: TestHub) -> None:
    for n in range(3):
        await hub.publish("a", str(n).encode())
    words = ("forward", "--cursor", "c", "--since", "all", hub.url_for("/sub/a"))
    for number in (signal.SIGINT, signal.SIGTERM):
        async with target(None) as server, running(*words, server.url) as process:
            await server.arrived(1)
            process.signal(number)
            await process.until("a second Ctrl-C or SIGTERM stops at once")
            server.go()
            assert await process.ended() == 130
            assert len(server.requests) == 1
    async with target() as server:
        await run(*words, server.url, "--limit", "1")
    assert [request.body for request in server.requests] == [b"2"]


@pytest.mark.slow
async def test_the_second_ctrl_c_does_not_wait(hub: TestHub) -> None:
    await hub.publish("a", b"1")
    words = ("forward", "--cursor", "c", "--since", "all", hub.url_for("/sub/a"))
    async with target(None) as server, running(*words, server.url) as process:
        await server.arrived(1)
        process.signal(signal.SIGINT)
        await process.until("a second Ctrl-C or SIGTERM stops at once")
        assert await process.interrupted() == 130
    async with target() as server:
        await run(*words, server.url, "--limit", "1")
    assert [request.body for request in server.requests] == [b"1"]


@pytest.mark.slow
async def test_a_circle_of_forwards_ends(hub: TestHub) -> None:
    forth = (hub.url_for("/sub/a"), hub.url_for("/pub/b"))
    back = (hub.url_for("/sub/b"), hub.url_for("/pub/a"))
    async with starting() as start:
        processes = [await start("forward", *urls) for urls in (forth, back)]
        for process in processes:
            await process.until("listening to")
        await hub.publish("a", b"round")
        await processes[0].until("came back in a loop")
    first, second = await hub.wait_for("a", 2)
    assert (first.hops, len(second.hops)) == ((), 2)


@pytest.mark.slow
async def test_a_lost_cursor_ends_it_when_what_is_in_hand_is_done(hub: TestHub) -> None:
    await hub.publish("a", b"1")
    words = ("forward", "--cursor", "c", "--since", "all", hub.url_for("/sub/a"))
    async with target(None) as server, running(*words, server.url) as process:
        await server.arrived(1)
        address = Address.parse(hub.url_for("/hookbot/v1/cursors"))
        await ask(address, "DELETE", query={"path": "/sub/a", "name": "c"})
        server.go()
        assert await process.ended() == 3
    assert b"  204  " in process.err
    assert b"hookbot: the cursor c was deleted" in process.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["http://h/sub/a"], 2, "Missing argument 'URL'"),
        (["http://h/sub/a", "http://t/", "more"], 2, "Needs URL and TARGET"),
        (["http://localhost:3000", "http://s3cret@h/sub/a"], 2, "http://h/sub/a is for listening: the URL of the sub"),
        (["http://h/sub/a", "http://s3cret@h/unsafe/sub/a"], 2, "the URL of the subscription comes first, then TARGET"),
        (["http://h/sub/a", "ftp://t/"], 3, "a target is an http:// or https:// URL"),
        (["http://h/pub/a", "http://t/"], 3, "is for publishing"),
        (["--give-up-on", "200", "http://h/sub/a", "http://t/"], 2, "Statuses are numbers from 300 to 599 with commas"),
        (["--sign", "github", "http://h/sub/a", "http://t/"], 2, "--sign and --secret go together"),
        (["--secret", "s3cret", "http://h/sub/a", "http://t/"], 2, "--sign and --secret go together"),
        (["--option", "max_age=1", "http://h/sub/a", "http://t/"], 2, "--option needs them"),
        (["--sign", "paypal", "--secret", "s3cret", "http://h/sub/a", "http://t/"], 2, "only the sender has the key"),
        (["--timeout", "0", "http://h/sub/a", "http://t/"], 2, "more than 0"),
        (["--concurrency", "0", "http://h/sub/a", "http://t/"], 2, "--concurrency"),
        (["--header", "nonsense", "http://h/sub/a", "http://t/"], 2, "a header must be 'Name: value'"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_connected(
    call: Caller, words: list[str], code: int, said: str
) -> None:
    ended, _, err = call("forward", *words)
    assert ended == code
    assert said in err
