"""``hookbot doctor``; what it finds is the matter of test_checkup.py."""

import pytest

from support.commands import Caller, ThreadHub


@pytest.fixture(scope="module")
def hub():
    hub = ThreadHub()
    yield hub
    hub.close()


@pytest.fixture
def call(monkeypatch, capfdbinary):
    return Caller(monkeypatch, capfdbinary)


def test_what_works_is_listed_hop_by_hop(hub, call):
    code, out, err = call("doctor", hub.url_for("/sub/a"), "--pub-url", hub.url_for("/pub/a"), "--wait", "0")
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


def test_what_is_broken_is_named_with_what_to_do_and_an_exit_code_of_its_own(hub, call):
    code, out, _ = call("doctor", f"{hub.url}/sub/a", HOOKBOT_TOKEN="0123456789")
    *_, failed, advice = out.decode().splitlines()
    assert code == 15
    assert failed == "failed  token      401 Unauthorized"
    assert "hookbot make-tokens" in advice
    assert b"0123456789" not in out
    assert call("doctor", "http://127.0.0.1:1/sub/a")[0] == 11


def test_tokens_may_be_in_the_environment(hub, call):
    def bare(url):
        return url.partition("@")[2]

    def token(url):
        return url.partition("//")[2].partition("@")[0]

    sub, pub = hub.url_for("/sub/a"), hub.url_for("/pub/a")
    words = ("doctor", f"http://{bare(sub)}", "--pub-url", f"http://{bare(pub)}", "--wait", "0")
    assert call(*words, HOOKBOT_TOKEN=token(sub), HOOKBOT_PUBLISH_TOKEN=token(pub))[0] == 0


def test_urls_that_make_no_sense_are_refused(hub, call):
    assert call("doctor", hub.url_for("/pub/a"))[0] == 3
    assert call("doctor", hub.url_for("/unsafe/sub/a"))[0] == 3
    assert call("doctor")[0] == 2
