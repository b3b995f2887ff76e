"""``hookbot doctor``: what is found is printed, with an exit code."""

import pytest

from support.commands import Caller
from support.hubs import ThreadHub


def test_what_works_is_listed_hop_by_hop(thread: ThreadHub, call: Caller, caplog: pytest.LogCaptureFixture) -> None:
    # The hub, which is asked for nothing in no format, logs in the process of the command.
    caplog.set_level("WARNING", "hookbot.access")
    code, out, err = call("doctor", thread.url_for("/sub/a"), "--pub-url", thread.url_for("/pub/a"), "--wait", "0")
    lines = [line.split()[:2] for line in out.decode().splitlines()]
    assert (code, err) == (0, "")
    assert lines == [
        ["ok", "name"],
        ["ok", "tcp"],
        ["-", "tls"],
        ["ok", "http"],
        ["ok", "clock"],
        ["ok", "token"],
        ["ok", "upgrade"],
        ["ok", "hub"],
        ["ok", "frames"],
        ["-", "heartbeat"],
    ]


@pytest.mark.slow
def test_what_is_broken_is_named_with_what_to_do_and_an_exit_code_of_its_own(thread: ThreadHub, call: Caller) -> None:
    code, out, _ = call("doctor", f"{thread.url}/sub/a", HOOKBOT_TOKEN="0123456789")
    *_, failed, advice = out.decode().splitlines()
    assert code == 15
    assert failed.startswith("failed  token      401 Unauthorized: the token is malformed")
    assert "hookbot make-tokens" in advice
    assert b"0123456789" not in out
    assert call("doctor", "http://127.0.0.1:1/sub/a")[0] == 11


def test_tokens_may_be_in_the_environment(thread: ThreadHub, call: Caller) -> None:
    def bare(url: str) -> str:
        return url.partition("@")[2]

    def token(url: str) -> str:
        return url.partition("//")[2].partition("@")[0]

    sub, pub = thread.url_for("/sub/a"), thread.url_for("/pub/a")
    words = ("doctor", f"http://{bare(sub)}", "--pub-url", f"http://{bare(pub)}", "--wait", "0")
    assert call(*words, HOOKBOT_TOKEN=token(sub), HOOKBOT_PUBLISH_TOKEN=token(pub))[0] == 0


def test_urls_that_make_no_sense_are_refused(thread: ThreadHub, call: Caller) -> None:
    assert call("doctor", thread.url_for("/pub/a"))[0] == 3
    assert call("doctor", thread.url_for("/unsafe/sub/a"))[0] == 3
    assert call("doctor")[0] == 2
