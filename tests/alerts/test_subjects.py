"""Subjects of alerts: their names, in the log and as topics."""

import json

import pytest

from hookbot.alerts.subjects import AlertKind, Subject, draft_of, resolved
from hookbot.protocol.topics import check_topic


@pytest.mark.parametrize(
    ("kind", "name", "path", "alert_topic", "topic", "words"),
    [
        ("source", "/unsafe/a/", "", "hookbot/alerts/source/unsafe/a", "/unsafe/a/", "the source /unsafe/a/"),
        ("source", "a", "", "hookbot/alerts/source/a", "a", "the source a"),
        ("cursor", "c", "/sub/a/", "hookbot/alerts/cursor/c", "a/", "the cursor c at /sub/a/"),
        ("group", "g", "/unsafe/sub/a", "hookbot/alerts/group/g", "/unsafe/a", "the group g at /unsafe/sub/a"),
        ("cursor", "c", "/sub/", "hookbot/alerts/cursor/c", "", "the cursor c at /sub/"),
        ("router", "r", "", "hookbot/alerts/router/r", "", "the router r"),
    ],
)
def test_a_subject_has_a_topic_for_its_alerts_and_one_that_it_is_about(
    kind: AlertKind, name: str, path: str, alert_topic: str, topic: str, words: str
) -> None:
    subject = Subject(kind, name, path)
    assert (subject.alert_topic, subject.topic, str(subject)) == (alert_topic, topic, words)
    assert check_topic(subject.alert_topic)


def test_no_two_subjects_have_the_same_key() -> None:
    subjects = [
        *(Subject("source", topic) for topic in ("a", "a/", "/unsafe/a", "cursor a")),
        *(Subject(kind, "a", path) for kind in ("cursor", "group") for path in ("/sub/a", "/sub/a b", "/sub/a b a")),
        *(Subject("router", name) for name in ("a", "b")),
    ]
    assert len({subject.key for subject in subjects}) == len(subjects)


def test_the_end_of_an_alert_is_told_on_the_same_topic_with_the_same_beginning() -> None:
    firing = Subject("router", "r").firing(1_700_000_000_000_000, "it is behind")
    end = resolved(firing, "it is no longer behind")

    assert draft_of(end).topic == draft_of(firing).topic == "hookbot/alerts/router/r"
    assert json.loads(draft_of(end).body) == {
        "type": "alert.resolved",
        "kind": "router",
        "name": "r",
        "state": "resolved",
        "since": "2023-11-14T22:13:20.000000Z",
        "topic": "",
        "sentence": "it is no longer behind",
    }
