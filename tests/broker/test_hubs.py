"""The hubs of a family, as operators see them."""

import json
from typing import Any

from hookbot.broker.hubs import describe_hubs
from hookbot.log.duties import Family, HubInfo


def hub(id: str, **fields: Any) -> HubInfo:
    values = {"url": "", "version": "1.1", "configuration": '{"key": "1"}', "started_us": 0, "seen_ago_s": 1.04}
    return HubInfo(**{"id": id, "told": 5, "duties": (), **values, **fields})


def test_what_a_hub_holds_and_how_far_it_is_behind_is_shown() -> None:
    duties = ["cursor /sub/a b c", "cursor /sub/a d", "group /sub/a g", "router/github", "trim"]

    [described] = describe_hubs(Family("abcdefgh", 7, [hub("x", url="http://10.0.0.5:8080", duties=duties)]))

    assert described == {
        "id": "x",
        "url": "http://10.0.0.5:8080",
        "version": "1.1",
        "since": "1970-01-01T00:00:00.000000Z",
        "seen_ago_s": 1.0,
        "position": "abcdefgh-000000000000005",
        "lag": 2,
        "trims": True,
        "routers": ["github"],
        "cursors": 2,
        "groups": 1,
        "differs": [],
    }
    json.dumps(described)


def test_configurations_are_compared_with_that_of_the_oldest_hub_alive() -> None:
    dead = hub("dead", seen_ago_s=300.0, configuration='{"key": "0", "unsafe": "1"}')
    first, other = (hub(id, configuration=f'{{"key": "1", "unsafe": "{id}"}}') for id in ("first", "other"))

    differing = {row["id"]: row["differs"] for row in describe_hubs(Family("abcdefgh", 5, [dead, first, other]))}
    alone = describe_hubs(Family("abcdefgh", 5, [dead]))

    assert differing == {"dead": ["key"], "first": [], "other": ["unsafe"]}
    assert [row["differs"] for row in alone] == [[]]
    assert describe_hubs(Family("abcdefgh", 0, [])) == []
