"""Topics in place of URLs: which hub and token they get, and their completion."""

import socket
from functools import partial
from pathlib import Path

import click
import pytest
import trio
from click.shell_completion import BashComplete

from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.tokens import make_token
from hookbot.cli.main import cli
from hookbot.cli.topics import find_profile, for_topic, url_of
from hookbot.client.address import Address
from hookbot.client.profiles import Profile, change_profiles, profiles_file
from hookbot.errors import ConfigError, Refused
from hookbot.testing import KEY
from support import GUARD_S
from support.commands import Caller
from support.hubs import ThreadHub


@pytest.fixture(autouse=True)
def home(environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty home."""
    environment.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def log_in(url: str, path: str = "/", name: str = "hub") -> Profile:
    profile = Profile(name, url, str(NarrowedToken.of(make_token(KEY, path), path)))
    change_profiles(profiles_file(), lambda profiles: profiles.using(profile))
    return profile


@pytest.fixture
def context() -> click.Context:
    return click.Context(cli)


@pytest.mark.parametrize(
    ("word", "path"),
    [
        ("deploy", "/sub/deploy"),
        ("github.com/repo/acme/", "/sub/github.com/repo/acme/"),
        ("/sub/deploy", "/sub/deploy"),
        ("/", "/sub/"),
        ("acme/*", "/sub/acme/"),
        ("/unsafe/stripe/", "/unsafe/sub/stripe/"),
        ("unsafe/stripe", "/unsafe/sub/stripe"),
        ("mail/bob@example.com", "/sub/mail/bob@example.com"),
        ("a b", "/sub/a%20b"),
        ("deploy?recursive", "/sub/deploy?recursive"),
        ("deploy?since=2h&limit=3", "/sub/deploy?since=2h&limit=3"),
    ],
)
def test_a_topic_is_at_the_hub_of_the_profile_with_a_token_for_it_alone(
    context: click.Context, word: str, path: str
) -> None:
    log_in("https://hub.example.com/hooks")

    with context:
        scheme, _, rest = url_of(word, "subscribe").partition("://")

    token, _, place = rest.partition("@")
    assert (scheme, place) == ("https", f"hub.example.com/hooks{path}")
    narrowed = NarrowedToken.parse(token)
    assert narrowed.is_made_with(KEY)
    assert narrowed.caveats == (f"path={Address.parse('http://h' + path).path.replace('%20', ' ')}",)


def test_a_topic_to_publish_to_has_another_path(context: click.Context) -> None:
    log_in("http://hub:8080", "/acme/")
    with context:
        assert url_of("acme/x", "publish").endswith("@hub:8080/pub/acme/x")


def test_a_url_stays_as_it_is_and_needs_no_profile() -> None:
    assert url_of("wss://t@h/sub/a?b=c", "subscribe") == "wss://t@h/sub/a?b=c"


@pytest.mark.parametrize(
    "word", ["secret@hub/sub/a", "localhost:8080/pub/a", "hub.example.com/sub/deploy", "hub.example.com/unsafe/pub/x"]
)
def test_a_url_without_its_scheme_is_no_topic_and_not_shown(context: click.Context, word: str) -> None:
    log_in("https://hub.example.com")
    with context, pytest.raises(Refused, match=r"^a URL begins with https:// or http://") as error:
        url_of(word, "subscribe")
    assert "secret" not in str(error.value)


def test_what_the_token_does_not_open_is_told_with_what_it_does(context: click.Context) -> None:
    log_in("https://h", "/sub/acme/", "work")
    with (
        context,
        pytest.raises(Refused, match=r"token of the profile 'work' opens '/sub/acme/', and not '/pub/acme/x'"),
    ):
        url_of("acme/x", "publish")


def test_a_token_that_would_be_too_long_is_sent_as_it_is(context: click.Context) -> None:
    profile = log_in("https://h")
    with context:
        assert f"//{profile.token}@" in url_of("t" * 900, "subscribe")


def test_a_damaged_token_is_told(context: click.Context) -> None:
    change_profiles(profiles_file(), lambda profiles: profiles.using(Profile("a", "https://h", "x")))
    with context, pytest.raises(ConfigError, match="the token of the profile 'a' is damaged: log in again"):
        url_of("deploy", "subscribe")


def test_one_token_may_be_for_both_ways_of_a_safe_topic(context: click.Context) -> None:
    def narrowest(profile: Profile, topic: str) -> str:
        return NarrowedToken.parse(for_topic(profile, topic)).narrowest

    with context:
        assert narrowest(log_in("https://h"), "acme/x") == "/acme/x"
        assert narrowest(log_in("https://h"), "/unsafe/x/") == "/unsafe/sub/x/"
        assert narrowest(log_in("https://h", "/sub/acme/"), "acme/x") == "/sub/acme/x"


# -- which profile


def test_without_a_profile_a_hub_of_this_machine_is_found_by_its_key(
    context: click.Context, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (
        context,
        pytest.raises(ConfigError, match=r"no profile, and no hub on this machine: log in with `hookbot login https"),
    ):
        find_profile()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "key").write_text(KEY)

    with context:
        here = find_profile()
        assert here.url == "http://localhost:8080"
        assert NarrowedToken.parse(here.token).is_made_with(KEY)
        environment.setenv("HOOKBOT_URL_BASE", "http://127.0.0.1:7/")
        assert find_profile().url == "http://127.0.0.1:7"
        environment.setenv("HOOKBOT_URL_BASE", "https://hub.example.com")
        with pytest.raises(ConfigError, match="there is no profile"):
            find_profile()
        log_in("https://elsewhere")
        assert find_profile().url == "https://elsewhere"


def test_commands_listen_and_publish_by_topic(thread: ThreadHub, call: Caller, topic: str, tmp_path: Path) -> None:
    log_in(thread.url)
    log_in("http://127.0.0.1:1", name="other")
    (tmp_path / "body").write_bytes(b"hello")
    for words in ["--profile", "hub"], []:
        assert call("publish", *words, topic, tmp_path / "body", HOOKBOT_PROFILE="hub")[0] == 0
    history = ("--raw", "--since", "all")

    assert call("listen", *history, "--no-follow", topic, HOOKBOT_PROFILE="hub")[1] == b"hellohello"
    assert call("latest", "--raw", HOOKBOT_PROFILE="hub", HOOKBOT_URL=topic)[1] == b"hello"
    assert call("messages", "--json", "--url", topic, HOOKBOT_PROFILE="hub")[1].count(b'"topic"') == 2
    assert call("messages", "--json", "--url", "nothing", HOOKBOT_PROFILE="hub")[1] == b"[]\n"
    assert topic.encode() in call("messages", "--profile", "hub", "--topic", topic)[1]
    echo = ("exec", "--since", "all", "--limit", "1", "--profile", "hub", topic, "--", "echo", "ran")
    assert b"ran" in call(*echo)[1]
    again = ("replay", "--since", "all", "--profile", "hub", "--publish", f"{topic}-again", topic)
    assert "2 replayed" in call(*again)[2]
    assert call("record", "--no-follow", "--since", "all", tmp_path / "file", topic, HOOKBOT_PROFILE="hub")[0] == 0
    assert "2 played" in call("play", tmp_path / "file", "--publish", topic, "--profile", "hub")[2]
    assert call("doctor", "--wait", "0", "--profile", "hub", topic, "--pub-url", topic)[0] == 0
    assert call("listen", topic, "--profile", "none")[0] == 2


def test_routers_are_those_of_a_hub_if_a_profile_is_named(thread: ThreadHub, call: Caller) -> None:
    log_in(thread.url)
    assert call("routers", "--json", "--profile", "hub") == (0, b"[]\n", "")
    assert b'"name": "github"' in call("routers", "--json")[1]


def test_with_a_url_in_the_environment_a_word_before_no_command_is_one(thread: ThreadHub, call: Caller) -> None:
    log_in(thread.url)
    code, _, err = call("exec", "deploy", "--", "true", HOOKBOT_URL=thread.url_for("/sub/x"))
    assert (code, err) == (2, "hookbot: command not found, or not executable: 'deploy'\n")


# -- completion


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that waits for as long as it takes."""
    monkeypatch.setattr("hookbot.cli.topics._COMPLETION_S", GUARD_S)


def completions(*words: str) -> list[str]:
    *before, begun = words
    return [one.value for one in BashComplete(cli, {}, "hookbot", "_HOOKBOT_COMPLETE").get_completions(before, begun)]


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize(
    "words",
    [
        *(("listen",), ("latest",), ("publish",), ("doctor",), ("forward",), ("exec", "--latest-only"), ("replay",)),
        *(("messages", "--url"), ("replay", "--publish"), ("listen", "--profile", "hub")),
    ],
)
def test_topics_are_completed_as_the_hub_knows_them(thread: ThreadHub, words: tuple[str, ...]) -> None:
    log_in(thread.url)
    thread.publish("completed/b", b"")
    thread.publish("completed/a", b"")

    assert completions(*words, "completed/") == ["completed/a", "completed/b"]
    assert completions(*words, "completed/b") == ["completed/b"]
    assert completions(*words, "https://") == []


def test_a_topic_that_a_shell_would_execute_is_not_completed(thread: ThreadHub) -> None:
    log_in(thread.url)
    for name in ("$(id)", "`id`", "a;id", "a|id", "a&b", "a>b", "a b", "a'b", 'a"b', "a*", "{a,b}", "a\\b", "!a", "#a"):
        thread.publish(f"shell/{name}", b"")
    thread.publish("-x/y", b"")
    thread.publish("shell/Größe-1.0_a:b@c+d=e,f%", b"")

    assert completions("listen", "shell/") == ["shell/Größe-1.0_a:b@c+d=e,f%"]
    assert "-x/y" not in completions("listen", "")


def test_only_the_first_word_is_completed_as_a_topic(thread: ThreadHub) -> None:
    log_in(thread.url)
    thread.publish("completed/a", b"")
    assert completions("forward", "completed/a", "compl") == []


def test_who_is_not_logged_in_or_has_no_hub_gets_no_topics(
    capfd: pytest.CaptureFixture[str], environment: pytest.MonkeyPatch
) -> None:
    assert completions("listen", "compl") == []
    log_in("http://127.0.0.1:1")
    assert completions("listen", "compl") == []
    profiles_file().chmod(0o644)
    assert completions("listen", "compl") == []
    assert capfd.readouterr() == ("", "")


def test_a_hub_that_does_not_answer_is_not_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        log_in(f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert completions("listen", "compl") == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("patience")
@pytest.mark.parametrize(
    ("answer", "topics"),
    [
        (b"[]", []),
        (b'{"topics": [7]}', []),
        (b'{"sees": 7}', []),
        (b'{"topics": [{"topic": "ok"}, {"topic": "o\\nk"}, {"topic": "o\\u001b[31m"}, {"topic": 7}, {}]}', ["ok"]),
        (b'{"sees": ["o\\u0007/"], "publishes": ["o\\u0007/"]}', []),
        (b'{"sees": ["/unsafe/\\ud800/"]}', []),
        (b'{"publishes": [5]}', []),
    ],
)
def test_a_server_that_is_no_hub_completes_and_opens_nothing(
    thread: ThreadHub, call: Caller, answer: bytes, topics: list[str]
) -> None:
    async def serve() -> int:
        async def respond(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))

        [listener] = await thread._nursery.start(partial(trio.serve_tcp, respond, 0, host="127.0.0.1"))
        return int(listener.socket.getsockname()[1])

    profile = log_in(f"http://127.0.0.1:{thread.call(serve)}")

    assert completions("listen", "o") == topics
    if any(told in answer for told in (b"[]", b"sees", b"publishes")):
        told = (4, "hookbot: the response is not that of a hub: it is no session\n")
        assert call("tunnel", "3000")[::2] == call("login", profile.url_at("/"))[::2] == told
