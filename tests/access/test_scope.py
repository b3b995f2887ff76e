"""Scopes: what the tokens of a request see, publish to and manage."""

from collections.abc import Sequence

import pytest

from hookbot.access.authorizer import Authorizer
from hookbot.access.narrowed_tokens import NarrowedToken
from hookbot.access.scope import Scope, find_scope, opened_by
from hookbot.access.tokens import make_token
from hookbot.errors import Forbidden, NotFound
from hookbot.protocol.failures import Failure
from hookbot.protocol.message import Message
from hookbot.protocol.replies import Answer, Reply
from hookbot.protocol.topics import EVERYTHING, TopicFilter
from support import KEY

API = "/hookbot/v1/messages"


def plain(path: str) -> str:
    return make_token(KEY, path)


def narrowed(path: str, *caveats: str) -> str:
    token = NarrowedToken.of(make_token(KEY, path), path)
    for caveat in caveats:
        name, _, value = caveat.partition("=")
        token = token.narrow(name, value)
    return str(token)


def find(*tokens: str, path: str = API, asked: Sequence[str] = (), now_s: float = 0) -> Scope | None:
    return find_scope(Authorizer([KEY]), tokens, path, asked, now_s=now_s)


def scope_of(*tokens: str, path: str = API, asked: Sequence[str] = ()) -> Scope:
    scope = find(*tokens, path=path, asked=asked)
    assert scope
    return scope


@pytest.mark.parametrize("path", ["/", "/hookbot/", "/hookbot/v1/", "/hookbot/v1/messages"])
@pytest.mark.parametrize("make", [plain, narrowed])
def test_an_operator_sees_everything(path: str, make: type) -> None:
    scope = scope_of(make(path))

    assert (scope.wanted, scope.operator) == (EVERYTHING, True)
    scope.check_operates()
    scope.check_manages(TopicFilter(("acme/",)))


def test_an_operators_token_opens_no_topic() -> None:
    scope = scope_of(plain("/hookbot/v1/"))

    assert scope.publishing == ()
    assert scope.find("subscribe", "/sub/acme") is None
    with pytest.raises(Forbidden, match="takes a token for '/pub/acme'"):
        scope.check_publishes("acme")


SEEN = {
    "/sub/": [""],
    "/sub/acme/": ["acme/"],
    "/sub/acme": ["acme"],
    "/acme/": ["acme/"],
    "/unsafe/": ["/unsafe/"],
    "/unsafe/sub/": ["/unsafe/"],
    "/unsafe/sub/acme/": ["/unsafe/acme/"],
}


@pytest.mark.parametrize("path", SEEN)
def test_a_narrowed_token_sees_the_topics_beneath_its_path(path: str) -> None:
    scope = scope_of(narrowed(path))

    assert (list(scope.wanted.patterns), scope.operator) == (SEEN[path], False)
    with pytest.raises(Forbidden, match="a token for operators"):
        scope.check_operates()


@pytest.mark.parametrize("path", ["/pub/", "/pub/acme/", "/unsafe/pub/", "/metrics", "/hookbot/v1/cursors"])
def test_a_token_for_something_else_sees_nothing(path: str) -> None:
    assert find(narrowed(path)) is None
    assert find(plain(path), asked=["acme/"]) is None


def test_the_narrowest_path_counts() -> None:
    assert scope_of(narrowed("/sub/", "path=/sub/acme/")).wanted.patterns == ("acme/",)
    assert find(narrowed("/sub/", "path=/sub/acme/", "path=/sub/other/")) is None
    assert find(narrowed("/", "path=/pub/")) is None


def test_a_plain_token_sees_what_it_opens_of_what_the_request_names() -> None:
    assert scope_of(plain("/sub/acme/"), asked=["acme/builds/"]).wanted.patterns == ("acme/builds/",)
    assert find(plain("/sub/acme/"), asked=["other/"]) is None
    assert find(plain("/sub/acme/")) is None
    assert scope_of(plain("/sub/")).wanted.patterns == ("",)


def test_a_token_for_everything_that_only_subscribes_is_no_operators() -> None:
    scope = scope_of(narrowed("/", "only=sub"))

    assert (set(scope.wanted.patterns), scope.operator, scope.publishing) == ({"", "/unsafe/"}, False, ())


@pytest.mark.parametrize("caveat", ["live=1", "since=1", "cursor=c"])
def test_a_token_that_shows_only_a_part_of_the_messages_shows_nothing_here(caveat: str) -> None:
    with pytest.raises(Forbidden, match="only a part of the messages"):
        find(narrowed("/sub/acme/", caveat))


@pytest.mark.parametrize("token", ["", "x", make_token("another key", "/")])
def test_a_wrong_token_sees_nothing(token: str) -> None:
    assert find(token, asked=["acme/"]) is None


def test_a_token_that_has_ended_sees_nothing() -> None:
    assert find(narrowed("/sub/acme/", "expires=10"), now_s=9)
    assert find(narrowed("/sub/acme/", "expires=10"), now_s=10) is None


def test_several_tokens_open_what_each_of_them_opens() -> None:
    scope = scope_of(narrowed("/sub/acme/"), narrowed("/pub/acme/"), narrowed("/unsafe/sub/acme/"))

    assert set(scope.wanted.patterns) == {"acme/", "/unsafe/acme/"}
    assert scope.publishing == ("acme/",)
    assert {held.grant.path for held in scope.held} == {"/sub/acme/", "/pub/acme/", "/unsafe/sub/acme/"}
    scope.check_publishes("acme/builds")
    scope.check_manages(TopicFilter(("acme/builds",)))
    for patterns in (("/unsafe/acme/",), ("acme", "acme/"), ("other",), ("acme/", "other/")):
        with pytest.raises(Forbidden, match="this takes a token for operators"):
            scope.check_manages(TopicFilter(patterns))


def test_neighbours_are_not_seen() -> None:
    scope = scope_of(narrowed("/sub/acme/"))

    assert scope.sees("acme/builds")
    assert not any(map(scope.sees, ("acme", "acmebuilds", "other", "/unsafe/acme/builds", "hookbot/failed/github", "")))
    assert scope.sees_all(TopicFilter(("acme/builds/",)))
    assert not scope.sees_all(TopicFilter(("acme", "acme/")))


def failed(topic: str) -> Message:
    failure = Failure("github", "abcdefgh-000000000000001", topic, "ValueError: no body")
    return Message(failure.failed_topic, headers=failure.headers, id="abcdefgh-000000000000002")


def test_what_a_router_failed_at_is_seen_by_who_sees_the_topic_where_it_was() -> None:
    scope = scope_of(narrowed("/sub/acme/"))

    scope.check_sees(failed("acme/builds"))
    assert scope.reads.matches(failed("acme/builds").topic)
    assert not scope.sees_message(failed("/unsafe/acme/builds"))
    with pytest.raises(NotFound, match="the log has no message abcdefgh-000000000000002"):
        scope.check_sees(failed("other"))


@pytest.mark.parametrize(
    ("path", "topic"), [("/sub/acme/", "acme/builds"), ("/unsafe/sub/acme/", "/unsafe/acme/builds")]
)
def test_an_answer_is_seen_by_who_sees_the_topic_of_its_message(path: str, topic: str) -> None:
    scope, id = scope_of(narrowed(path)), "abcdefgh-000000000000001"
    answers = [Answer(id, one, Reply()).draft.stored("abcdefgh", 2, 0, None) for one in (topic, "other", f"{topic}x/y")]

    assert [scope.sees_message(answer) for answer in answers] == [True, False, True]
    assert [scope.reads.matches(answer.topic) for answer in answers] == [True, False, True]
    assert not scope.sees(answers[0].topic)


def test_a_failure_that_somebody_invents_shows_nothing() -> None:
    message = Message("other", headers=(("Hookbot-Failed-Topic", "acme/x"),), id="abcdefgh-000000000000002")

    assert not scope_of(narrowed("/sub/acme/")).sees_message(message)


@pytest.mark.parametrize("token", ["", "x", "a" * 40])
def test_only_a_narrowed_token_tells_what_it_opens(token: str) -> None:
    assert opened_by(token, "subscribe") == ()


def test_who_has_its_tokens_is_told_by_their_names_or_paths() -> None:
    named = narrowed("/sub/", "name=ann", "path=/sub/acme/")
    assert scope_of(named, plain("/hookbot/v1/")).by == "/hookbot/v1/"
    assert scope_of(named, narrowed("/pub/")).by == "/pub/,ann"
    assert scope_of(narrowed("/", "name=ann", "name=laptop")).by == "ann,laptop"
