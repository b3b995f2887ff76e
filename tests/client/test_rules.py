"""The parts of the client that touch no socket: addresses, answers, delays, frames, progress."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hookbot import errors
from hookbot.backoff import GOOD_S, LONGEST_S, SHORTEST_S, Backoff
from hookbot.client.address import Address, check_publishable, subscription_of
from hookbot.client.errors import PASSING, retry_after
from hookbot.client.progress import AckedProgress, Progress
from hookbot.protocol.frames import Heartbeat, Hello, parse_raw
from hookbot.protocol.message import Gap, Message, format_id
from hookbot.protocol.response import MAX_RETRY_AFTER_S, error_of
from hookbot.protocol.topics import TopicFilter

# -- addresses


@pytest.mark.parametrize(
    ("url", "shown", "netloc"),
    [
        ("http://hub/sub/a", "http://hub/sub/a", "hub"),
        ("ws://hub:80/sub/a", "http://hub/sub/a", "hub"),
        ("wss://hub:443/sub/a?x=1#y", "https://hub/sub/a", "hub"),
        ("https://hub:80/sub/a", "https://hub:80/sub/a", "hub:80"),
        ("https://tok:pass@HUB/", "https://hub/", "hub"),
        ("https://hub", "https://hub/", "hub"),
        ("http://[::1]:8080/sub/a", "http://[::1]:8080/sub/a", "[::1]:8080"),
        ("http://bücher.example/sub/ü b", "http://xn--bcher-kva.example/sub/%C3%BC%20b", "xn--bcher-kva.example"),
    ],
)
def test_an_address_is_shown_without_credentials_and_query(url, shown, netloc):
    address = Address.parse(url)
    assert (str(address), address.netloc) == (shown, netloc)


def test_an_address_does_not_show_its_token_to_a_debugger_either():
    assert "s3cret" not in repr(Address.parse("https://s3cret@hub/sub/a?token=s3cret"))


@pytest.mark.parametrize("url", ["", "hub", "//hub/sub/a", "mailto:a@hub", "http://", "http://hub:x/", "http://[::1/"])
def test_what_is_no_url_is_refused_without_repeating_it(url):
    with pytest.raises(errors.Refused):
        Address.parse(url)


@pytest.mark.parametrize(
    ("path", "patterns"),
    [
        ("/sub/a/b", ("a/b",)),
        ("/sub/a/", ("a/",)),
        ("/sub/", ("",)),
        ("/a%20b", ("a b",)),
        ("/unsafe/sub/a", ("/unsafe/a",)),
        ("/sub/a%3Frecursive", ("a", "a/")),
    ],
)
def test_an_address_says_what_is_listened_to(path, patterns):
    assert subscription_of(Address.parse(f"http://hub{path}")) == TopicFilter(patterns)


@pytest.mark.parametrize("path", ["/sub/a", "/unsafe/sub/a"])
def test_a_url_for_listening_is_not_published_to(path):
    with pytest.raises(errors.Refused, match="for listening"):
        check_publishable(Address.parse(f"http://hub{path}"))


# -- answers


def _statuses():
    classes = [errors.Refused, errors.Unavailable]
    for cls in classes:
        classes.extend(sub for sub in cls.__subclasses__() if sub.__module__ == "hookbot.errors")
    return {cls.status: cls for cls in reversed(classes)}


@pytest.mark.parametrize(("status", "cls"), _statuses().items())
def test_every_status_of_a_hub_is_turned_back_into_the_error_that_it_came_from(status, cls):
    error = error_of(status, {"allow": "GET", "retry-after": "7"}, b"a sentence\n")
    assert isinstance(error, cls)
    assert (error.status, str(error)) == (status, f"{status} a sentence")


def test_what_passes_is_tried_again_and_what_does_not_is_not():
    passing = {status for status in range(100, 600) if isinstance(error_of(status, {}, b""), PASSING)}
    assert passing == {*range(100, 200), 408, 409, 429, *range(500, 600)}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"401 Unauthorized\n", "401 Unauthorized"),
        (b'{"title": "Unauthorized", "detail": "no\\nsecond line"}', "401 no"),
        (b'{"title": "Unauthorized"}', "401 Unauthorized"),
        (b"{", "401 Unauthorized"),
        (b"<html>nginx", "401 Unauthorized"),
        (b"", "401 Unauthorized"),
        (b"\x1b[31mred\xff", "401 [31mred\ufffd"),
        (b"x" * 9999, "401 " + "x" * 300),
    ],
)
def test_an_error_says_one_printable_line(body, text):
    assert str(error_of(401, {}, body)) == text


@pytest.mark.parametrize(
    ("asked", "waits"), [("7", 7), ("", 0), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("99999", MAX_RETRY_AFTER_S)]
)
def test_a_hub_may_ask_to_be_left_alone_for_a_while(asked, waits):
    assert retry_after(error_of(503, {"retry-after": asked}, b"")) == waits
    assert retry_after(error_of(429, {"retry-after": asked}, b"")) == waits
    assert retry_after(errors.RequestTimeout("slow")) == 0


# -- delays


@given(st.integers(1, 40))
def test_delays_stay_between_the_shortest_and_a_bound_that_doubles(failures):
    backoff = Backoff()
    delays = [backoff.next_s() for _ in range(failures)]
    for n, delay in enumerate(delays, 1):
        assert SHORTEST_S <= delay <= min(LONGEST_S, SHORTEST_S * 2**n)


def test_a_good_minute_starts_over_and_less_does_not():
    backoff = Backoff()
    for _ in range(20):
        backoff.next_s(lasted_s=GOOD_S - 1)
    assert max(backoff.next_s(lasted_s=GOOD_S - 1) for _ in range(100)) > 5
    assert backoff.next_s(lasted_s=GOOD_S) <= 2 * SHORTEST_S


def test_a_delay_is_never_less_than_the_hub_asked_for():
    assert Backoff().next_s(at_least_s=60) == 60


# -- raw frames


@pytest.mark.parametrize(
    ("path", "frame", "topic", "body"),
    [
        ("a", b"x\0y", "a", b"x\0y"),
        ("a", "text", "a", b"text"),
        ("a/", b"a/b\0x\0y", "a/b", b"x\0y"),
        ("", b"\0", "", b""),
        ("a?recursive", b"a\0x", "a", b"x"),
        ("a/", b"\xff\0x", "\ufffd", b"x"),
    ],
)
def test_a_raw_frame_is_split_as_the_ancestor_joins_it(path, frame, topic, body):
    assert parse_raw(frame, TopicFilter.parse(path), time_us=5) == Message(topic, body, time_us=5)


# -- progress


def mid(n):
    return format_id("abcdefgh", n)


def message(n):
    return Message("t", id=mid(n))


@pytest.mark.parametrize(
    ("since", "after_hello"),
    [
        (None, mid(9)),
        ("10m", mid(9)),
        ("all", "all"),
        (mid(3), mid(3)),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
    ],
)
def test_a_beginning_that_would_move_is_pinned_to_the_place_that_the_hub_names(since, after_hello):
    progress = Progress(since)
    progress.subscribed(Hello("", mid(9)))
    assert progress.since == after_hello


def test_a_place_moves_with_messages_and_heartbeats_and_not_with_gaps_and_raw_frames():
    progress = Progress(None)
    assert progress.accept(message(1))
    assert not progress.accept(Heartbeat(mid(2)))
    assert progress.accept(Gap("retention", None, mid(7)))
    assert progress.accept(Message("t"))
    assert (progress.since, progress.take_ack()) == (mid(2), None)


@given(st.lists(st.sampled_from(["out", "done", "sent", "cut"]), max_size=60), st.randoms(use_true_random=False))
def test_a_cursor_is_never_acknowledged_past_what_is_in_hand_and_in_the_end_completely(steps, random):
    progress = AckedProgress(None, each=False)
    out, open_, acked = 0, [], 0
    for step in steps:
        if step == "out":
            out += 1
            assert progress.accept(message(out))
            open_.append(out)
        elif step == "done" and open_:
            progress.done(mid(open_.pop(random.randrange(len(open_)))))
        elif step == "sent" and (text := progress.take_ack()):
            ack = json.loads(text)
            assert ack["type"] == "ack"
            assert acked <= (acked := int(ack["id"][-15:])) < min(open_, default=out + 1)
        elif step == "cut":
            progress.subscribed(Hello("", mid(0), mid(0)))
            assert not any(progress.accept(message(n)) for n in open_)  # the hub sends them again
    for n in open_:
        progress.done(mid(n))
    progress.subscribed(Hello("", mid(0), mid(0)))
    last = progress.take_ack()
    assert (json.loads(last)["id"] if last else None) == (mid(out) if out else None)


def test_a_cursor_whose_last_acknowledgement_arrived_says_nothing_again():
    progress = AckedProgress(None, each=False)
    progress.accept(message(1))
    progress.done(mid(1))
    progress.take_ack()
    progress.subscribed(Hello("", mid(1), mid(1)))
    assert progress.take_ack() is None


def test_a_group_is_told_of_each_message_once():
    progress = AckedProgress(None, each=True)
    for n in (1, 2, 3):
        progress.accept(message(n))
    progress.done(mid(3))
    progress.done(mid(1))
    progress.done(mid(1))
    progress.done(mid(99))
    assert json.loads(progress.take_ack()) == {"type": "ack", "ids": [mid(3), mid(1)]}
    assert progress.take_ack() is None


def test_a_group_gets_a_message_again_whose_acknowledgement_was_lost():
    progress = AckedProgress(None, each=True)
    progress.accept(message(1))
    progress.done(mid(1))
    progress.take_ack()
    progress.subscribed(Hello("", mid(0), mid(0)))
    assert progress.accept(message(1))
