"""Sections of alerts in a configuration file."""

from typing import Any

import pytest

from hookbot.alerts.backlogs import BacklogRule
from hookbot.alerts.subjects import Subject
from hookbot.hub.alert_section import parse_alert
from hookbot.hub.config_file import Mistakes

RIGHT = {"cursor": "mirror", "path": "/sub/team/", "behind": 10}


def test_a_section_is_a_rule() -> None:
    assert parse_alert({**RIGHT, "for": "1h"}) == BacklogRule(Subject("cursor", "mirror", "/sub/team/"), 10, 3600)
    assert parse_alert({"group": "g", "path": "/unsafe/sub/x?recursive", "behind": 10_000, "for": "0s"}) == BacklogRule(
        Subject("group", "g", "/unsafe/sub/x?recursive"), 10_000, 0
    )
    assert parse_alert({"router": "github", "behind": 1}) == BacklogRule(Subject("router", "github"), 1, 600)


def test_a_path_is_that_of_its_cursors_however_it_is_written() -> None:
    assert parse_alert({**RIGHT, "path": "/team/"}) == parse_alert(RIGHT)


@pytest.mark.parametrize(
    ("section", "mistakes"),
    [
        ({"behind": 1}, {"": "an alert is about one of cursor, group, router: name one of these, and only that"}),
        (
            {**RIGHT, "group": "g"},
            {"": "an alert is about one of cursor, group, router: name one of these, and only that"},
        ),
        ({"cursor": "mirror"}, {"path": "the key 'path' is missing", "behind": "the key 'behind' is missing"}),
        (
            {**RIGHT, "cursor": "a b"},
            {"cursor": "the name must have 1 to 128 characters, of letters, digits and ._~-, not 'a b'"},
        ),
        (
            {**RIGHT, "path": "team/"},
            {"path": "invalid path 'team/': it does not begin with '/'"},
        ),
        ({**RIGHT, "path": "/pub/x"}, {"path": "'/pub/x' is not the path of a subscription, such as /sub/acme/"}),
        ({**RIGHT, "behind": 0}, {"behind": "must be at least 1, not 0"}),
        (
            {**RIGHT, "behind": 10_001},
            {"behind": "must be at most 10000: whoever has more to catch up with is far behind"},
        ),
        ({**RIGHT, "behind": "10"}, {"behind": "behind must be an integer, not a string"}),
        ({**RIGHT, "for": "soon"}, {"for": "not a duration such as 90s, 10m, 2h or 7d: 'soon'"}),
        ({**RIGHT, "befind": 1}, {"befind": "an alert about a cursor has no key 'befind', did you mean 'behind'?"}),
        ({"router": "r", "behind": 1, "path": "/sub/x"}, {"path": "an alert about a router has no key 'path'"}),
    ],
)
def test_a_mistake_is_told_with_its_key(section: dict[str, Any], mistakes: dict[str, str]) -> None:
    with pytest.raises(Mistakes) as caught:
        parse_alert(section)
    assert dict(caught.value.mistakes) == mistakes
