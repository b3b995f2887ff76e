"""Publishes to a topic that is nearly that of a source or a router: the log tells of each such topic once."""

import pytest

from hookbot.access.near_misses import COMPARISONS, MAX_TOPICS, NearMisses, is_near
from hookbot.hub.logging_setup import fields_of

GITHUB = "/unsafe/github.com/"


@pytest.mark.parametrize(
    ("topic", "pattern"),
    [
        ("/unsafe/github.com", GITHUB),
        ("/unsafe/", GITHUB),
        ("/unsafe/GitHub.com/org/acme", GITHUB),
        ("/unsafe/GITHUB.COM", GITHUB),
        ("/unsafe/github.com.", GITHUB),
        ("/unsafe/github.com./org/acme", GITHUB),
        ("/unsafe/github", GITHUB),
        ("/unsafe/github/org/acme", GITHUB),
        ("/unsafe/githib.com/org/acme", GITHUB),
        ("/unsafe/gihtub.com/org/acme", GITHUB),
        ("/unsafe/github.co/org/acme", GITHUB),
        ("/unsafe/github-com/org/acme", GITHUB),
        ("/unsafe/ｇithub.com/org/acme", GITHUB),
        ("/unsafe/unsafe/github.com/org/acme", GITHUB),
        ("/unsafe/pub/github.com/org/acme", GITHUB),
        ("unsafe/github.com/org/acme", GITHUB),
        ("Unsafe/pub/github.com/org/acme", GITHUB),
        ("/unsafe/stripe/", "/unsafe/stripe"),
        ("/unsafe/stripe/live", "/unsafe/stripe"),
        ("/unsafe/stripes", "/unsafe/stripe"),
        ("/unsafe/my_big-shop", "/unsafe/my-big-shop"),
        ("/unsafe/github.com/org", "/unsafe/github.com/org/acme"),
        ("/unsafe/github.com/org/Acme", "/unsafe/github.com/org/acme"),
        ("order/new", "orders/"),
        ("pub/orders/new", "orders/"),
        ("JIRA/cloud", "jira/"),
    ],
)
def test_what_is_spelled_nearly_like_a_topic_is_near_it(topic: str, pattern: str) -> None:
    assert is_near(topic, pattern)


@pytest.mark.parametrize(
    ("topic", "pattern"),
    [
        ("/unsafe/stripe/x", GITHUB),
        ("/unsafe/gitlab.com/x", GITHUB),
        ("", "orders/"),
        ("/unsafe/", "/unsafe/github.com/org/acme"),
        ("github.com/repo/acme/app", GITHUB),
        ("/unsafe/orders/x", "orders/"),
        ("device2/x", "device1/"),
        ("device12/x", "device1/"),
        ("v1.2/x", "v1.3/"),
        ("cd/x", "ci/"),
        ("a" * 1000, "b" * 1000),
    ],
)
def test_other_names_other_numbers_and_short_names_are_not_near(topic: str, pattern: str) -> None:
    assert not is_near(topic, pattern)


def test_a_near_miss_is_logged_once_for_each_topic(caplog: pytest.LogCaptureFixture) -> None:
    misses = NearMisses([GITHUB])
    for _ in range(3):
        misses.note("/unsafe/GitHub.com/x", "192.0.2.1", now_s=0)
        misses.note("/unsafe/github.com", "192.0.2.2", now_s=0)
        misses.note("/unsafe/other", "192.0.2.2", now_s=0)
    says = "no source or router has the topic of a publish: is /unsafe/github.com/ meant?"
    assert caplog.messages == [says, says]
    assert [fields_of(record) for record in caplog.records] == [
        {"topic": "/unsafe/GitHub.com/x", "client": "192.0.2.1"},
        {"topic": "/unsafe/github.com", "client": "192.0.2.2"},
    ]


def test_a_topic_that_a_source_or_a_router_has_is_no_near_miss(caplog: pytest.LogCaptureFixture) -> None:
    misses = NearMisses([GITHUB, "orders/"])
    misses.routers = lambda: ["order/"]
    for topic in ("/unsafe/github.com/org/x", "orders/new", "order/new", "order/"):
        misses.note(topic, "192.0.2.1", now_s=0)
    assert not caplog.messages
    misses.note("ordes/new", "192.0.2.1", now_s=0)
    assert caplog.messages


@pytest.mark.parametrize("everything", ["", "/unsafe/"])
def test_what_reads_everything_hides_no_near_miss(everything: str, caplog: pytest.LogCaptureFixture) -> None:
    misses = NearMisses([GITHUB, "orders/"])
    misses.routers = lambda: [everything]
    misses.note("/unsafe/GitHub.com/x", "192.0.2.1", now_s=0)
    misses.note("Orders/x", "192.0.2.1", now_s=0)
    assert len(caplog.messages) == 2


def test_a_flood_of_topics_is_compared_slowly_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    misses = NearMisses([GITHUB])
    for number in range(10 * COMPARISONS.count):
        misses.note(f"/unsafe/GitHub.com/{number}", "192.0.2.1", now_s=0)
    assert len(caplog.messages) == COMPARISONS.count
    # What was not compared is told when the flood is over.
    misses.note("/unsafe/GitHub.com/acme", "192.0.2.2", now_s=1)
    assert "acme" in caplog.records[-1].__dict__["topic"]

    for number in range(2 * MAX_TOPICS):
        misses.note(f"/unsafe/{number}", "192.0.2.1", now_s=2 + number)
    assert len(misses._known) == MAX_TOPICS


def test_the_topics_of_new_sources_are_looked_for_after_a_reload(caplog: pytest.LogCaptureFixture) -> None:
    misses = NearMisses([GITHUB])
    misses.note("/unsafe/Stripe", "192.0.2.1", now_s=0)
    assert not caplog.messages

    misses.adopt(NearMisses(["/unsafe/stripe/"]))
    misses.note("/unsafe/Stripe", "192.0.2.1", now_s=0)
    assert caplog.messages
