"""Quotas of the topics of a prefix, on a clock that the tests set."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot.access.quotas import Quota, QuotaKind, Quotas, check_publish, count_publish
from hookbot.access.rate_limits import Rate
from hookbot.errors import QuotaReached, Refused
from hookbot.protocol.paths import path_of
from hookbot.protocol.topics import RECURSIVE, TopicFilter

NOW_S = 1000.0


def quota(prefix: str, **limits: Rate | int) -> Quota:
    typed: dict[QuotaKind, Rate | int] = limits  # type: ignore[assignment]
    return Quota(prefix, typed, {name: f"<{name}>" for name in limits})


def used(quotas: Quotas, *paths: str, now_s: float = NOW_S) -> dict[tuple[str, str], tuple[int, int]]:
    """Used and refused, by prefix and limit."""
    uses = quotas.uses(paths, now_s=now_s)
    return {(use.prefix, use.kind): (round(use.used), use.refused) for use in uses}


def wanted(text: str) -> TopicFilter:
    return TopicFilter.parse(text)


def test_a_topic_falls_under_each_quota_whose_prefix_holds_it() -> None:
    quotas = Quotas([quota(prefix, cursors=1) for prefix in ("", "a/", "a/b/", "a/b", "/unsafe/", "/unsafe/a")])

    def found(*patterns: str) -> set[str]:
        return {one.prefix for one in quotas.of(*patterns)}

    assert found("a") == found("x") == found("") == {""}
    assert found("a/b") == {"", "a/", "a/b"}
    assert found("a/b/c") == found("a/b/") == {"", "a/", "a/b/"}
    assert found("/unsafe/a") == {"/unsafe/", "/unsafe/a"}
    assert found("/unsafe/a/b") == {"/unsafe/"}
    assert found("a/b", "a/b/") == {"", "a/", "a/b", "a/b/"}
    assert not Quotas().of("a")


def test_all_quotas_of_a_topic_have_to_allow_a_publish_and_a_refused_one_is_counted_in_none() -> None:
    quotas = Quotas([quota("a/", publishes=Rate(5, 1)), quota("a/b/", publishes=Rate(2, 60), bytes=Rate(100, 60))])
    nested = quotas.of("a/b/c")

    count_publish(nested, 60, now_s=NOW_S)
    with pytest.raises(QuotaReached, match="the quota of 'a/b/' is reached: bytes = <bytes>") as caught:
        count_publish(nested, 70, now_s=NOW_S)
    assert caught.value.retry_after_s == 18
    count_publish(nested, 40, now_s=NOW_S)
    with pytest.raises(QuotaReached, match="publishes = <publishes>") as caught:
        check_publish(nested, 0, now_s=NOW_S)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 30)

    assert used(quotas) == {("a/", "publishes"): (2, 0), ("a/b/", "publishes"): (2, 1), ("a/b/", "bytes"): (100, 1)}
    count_publish(quotas.of("a/x"), 1000, now_s=NOW_S)
    check_publish(nested, 50, now_s=NOW_S + 30)
    assert used(quotas, now_s=NOW_S + 30)["a/b/", "bytes"] == (50, 1)
    assert {one.prefix: one.max_body_bytes for one in nested} == {"a/": None, "a/b/": 100}


def test_so_many_subscribers_are_allowed_at_a_time() -> None:
    quotas = Quotas([quota("a/", subscribers=2)])

    for topic in ("a/b", "a?recursive"):
        quotas.check_subscription(wanted(topic))
        quotas.count_subscription(wanted(topic))
    for topic in ("a", ""):
        quotas.check_subscription(wanted(topic))
        quotas.count_subscription(wanted(topic))
    with pytest.raises(QuotaReached, match="the quota of 'a/' is reached: subscribers = <subscribers>") as caught:
        quotas.check_subscription(wanted("a/"))
    assert caught.value.retry_after_s == 30
    quotas.count_subscription(wanted("a/b"), -1)
    quotas.check_subscription(wanted("a/"))
    assert used(quotas) == {("a/", "subscribers"): (1, 1)}


def test_so_many_cursors_are_allowed() -> None:
    quotas = Quotas([quota("a/", cursors=2), quota("", cursors=9), quota("a/b", subscribers=1)])
    [_, one] = quotas.of_cursors(wanted("a/b"))

    one.check_cursor(["/sub/a/x", "/sub/b", "/unsafe/sub/a/x", "/sub/a"])
    with pytest.raises(Refused, match="the quota of 'a/' is reached: cursors = <cursors>; delete a cursor") as caught:
        one.check_cursor(["/sub/a/x", "/sub/a?recursive"])
    assert caught.value.status == 400
    counted = used(quotas, "/sub/a/x", "/sub/b")
    assert (counted["a/", "cursors"], counted["", "cursors"]) == ((1, 1), (2, 0))


NAMES = st.lists(st.sampled_from("ab"), max_size=3).map("/".join)
PATTERNS = st.builds(
    lambda root, name, end: root + (name + end if name else ""),
    st.sampled_from(["", "/unsafe/"]),
    NAMES,
    st.sampled_from(["", "/"]),
)


@given(prefix=PATTERNS, topic=PATTERNS, recursive=st.booleans())
def test_cursors_are_counted_by_path_as_they_are_found_by_topic(prefix: str, topic: str, recursive: bool) -> None:
    selected = wanted(topic + RECURSIVE * recursive)
    [one] = quotas = Quotas([quota(prefix, cursors=1)])

    assert one.count_cursors([path_of(selected)]) == len(quotas.of(*selected.patterns))


def test_after_a_reload_what_is_used_of_the_same_limits_stays() -> None:
    def make(rate: int) -> Quotas:
        return Quotas([quota("a/", publishes=Rate(1, 60)), quota("b/", publishes=Rate(rate, 60))])

    quotas = make(1)
    for topic in ("a/x", "b/x"):
        count_publish(quotas.of(topic), 0, now_s=NOW_S)
    quotas.adopt(make(2))

    assert used(quotas) == {("a/", "publishes"): (1, 0), ("b/", "publishes"): (0, 0)}
    quotas.adopt(Quotas())
    assert not quotas.of("a/x")
