"""Records that are alike: a burst is written, then one in each interval."""

import logging
import sys

from hookbot.hub.repeats import BURST, FORGOTTEN_S, INTERVAL_S, MAX_KINDS, RepeatLimit, formatted


def record(template: str = "no %s", *args: object, level: int = logging.WARNING, line: int = 1) -> logging.LogRecord:
    return formatted(logging.LogRecord("hookbot.x", level, __file__, line, template, args, None))


def failed(number: str) -> logging.LogRecord:
    """A record of an exception that is always raised by the same line."""
    try:
        int(number)
    except ValueError:
        return formatted(logging.LogRecord("hookbot.x", logging.ERROR, __file__, 1, "failed", (), sys.exc_info()))
    raise AssertionError


def admitted(limit: RepeatLimit, *records: logging.LogRecord, now_s: float = 0) -> list[str]:
    found = [limit.admit(one, now_s=now_s) for one in records]
    return [one.getMessage() for one in found if one]


def due(limit: RepeatLimit, now_s: float) -> list[tuple[str, int]]:
    return [(one.getMessage(), one.__dict__["more"]) for one in limit.due(now_s=now_s)]


def test_after_a_burst_the_last_one_is_written_in_each_interval_with_the_number_of_others() -> None:
    limit = RepeatLimit()

    first = admitted(limit, *(record("no %s", number) for number in range(100)))

    assert first == [f"no {number}" for number in range(BURST)]
    assert due(limit, INTERVAL_S - 0.1) == []
    assert due(limit, INTERVAL_S) == [("no 99", 100 - BURST - 1)]
    assert due(limit, 2 * INTERVAL_S) == []


def test_one_that_comes_after_a_quiet_interval_is_written_at_once() -> None:
    limit = RepeatLimit()
    admitted(limit, *(record("no %s", number) for number in range(BURST)))

    assert admitted(limit, record("no %s", "later"), now_s=INTERVAL_S) == ["no later"]
    assert admitted(limit, record("no %s", "too soon"), now_s=INTERVAL_S) == []


def test_what_is_held_back_in_the_end_is_written_in_the_end() -> None:
    limit = RepeatLimit()
    admitted(limit, *(record("no %s", number) for number in range(BURST + 2)))

    [last] = limit.all_held_back()

    assert (last.getMessage(), last.__dict__["more"]) == (f"no {BURST + 1}", 1)
    assert list(limit.all_held_back()) == []


def test_other_templates_levels_and_lines_are_other_kinds() -> None:
    limit = RepeatLimit()
    many = [record("no %s", number) for number in range(50)]
    others = [record("not %s", 1), record("no %s", 1, level=logging.ERROR), record("fixed"), record("fixed", line=2)]

    assert len(admitted(limit, *many, *others)) == BURST + len(others)


def test_other_statuses_and_providers_are_other_kinds() -> None:
    found = []
    for fields in ({"status": 401}, {"status": 403}, {"status": 401, "provider": "github"}):
        for number in range(50):
            given = record("refused: %s", number)
            given.__dict__.update(fields, client=str(number))
            found.append(given)

    assert len(admitted(RepeatLimit(), *found)) == 3 * BURST


def test_a_library_may_have_anything_in_a_field_of_that_name() -> None:
    given = record("no %s", 1)
    given.__dict__["status"] = {"of": "a library"}

    assert admitted(RepeatLimit(), given) == ["no 1"]


def test_what_operators_do_is_not_limited() -> None:
    limit, given = RepeatLimit(), record("a session was opened")
    given.name = "hookbot.audit"

    assert len(admitted(limit, *[given] * 50)) == 50


def test_a_text_without_arguments_that_changes_each_time_is_of_one_kind() -> None:
    assert len(admitted(RepeatLimit(), *(record(f"no {number}") for number in range(50)))) == BURST


def test_debug_records_are_not_limited() -> None:
    assert len(admitted(RepeatLimit(), *(record("no %s", 1, level=logging.DEBUG) for _ in range(50)))) == 50


def test_the_first_exception_of_a_line_has_its_traceback() -> None:
    limit = RepeatLimit()

    found = [limit.admit(failed(number), now_s=0) for number in ("a", "b")]

    assert [one and bool(one.exc_info) for one in found] == [True, False]


def test_the_record_itself_is_not_changed_since_other_handlers_get_it_too() -> None:
    limit = RepeatLimit()
    records = [failed("a"), failed("b")]

    admitted(limit, *records)

    assert all(one.exc_info for one in records)


def test_a_kind_that_was_quiet_for_long_is_news_again() -> None:
    limit = RepeatLimit()
    admitted(limit, failed("a"))
    assert due(limit, FORGOTTEN_S) == []

    again = limit.admit(failed("a"), now_s=FORGOTTEN_S)

    assert again
    assert again.exc_info


def test_there_is_a_bound_on_the_kinds() -> None:
    limit = RepeatLimit()
    for line in range(2 * MAX_KINDS):
        limit.admit(record("x", line=line), now_s=0)

    assert len(limit._kinds) == MAX_KINDS + 1
