"""Room for cursors and groups."""

from collections.abc import Collection

import pytest

from hookbot.broker.claims import ConsumerId
from hookbot.broker.room import MAX_PER_PATH, check_room, no_limits
from hookbot.errors import Refused
from hookbot.protocol.topics import TopicFilter

NEW = ConsumerId("cursor", "/sub/t", "new")


def others(path: str) -> list[ConsumerId]:
    return [ConsumerId("group", path, str(number)) for number in range(MAX_PER_PATH)]


def test_a_path_has_room_for_so_many() -> None:
    check_room(NEW, others("/sub/t")[1:] + others("/sub/t/"), no_limits)

    with pytest.raises(Refused, match="'/sub/t' has 100 cursors and groups already; delete one of them first"):
        check_room(NEW, others("/sub/t"), no_limits)


def test_each_limit_is_asked_with_the_paths_of_the_others() -> None:
    asked = []

    class Limit:
        def check_cursor(self, paths: Collection[str]) -> None:
            asked.append(list(paths))
            raise Refused("full")

    def limits_of(wanted: TopicFilter) -> Collection[Limit]:
        return [Limit()] if wanted.matches("t") else []

    check_room(ConsumerId("cursor", "/sub/u", "new"), [], limits_of)
    with pytest.raises(Refused, match="full"):
        check_room(NEW, [ConsumerId("group", "/sub/u", "g")], limits_of)
    assert asked == [["/sub/u"]]
