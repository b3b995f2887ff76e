"""The view of a screen."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from hookbot.cli.live.deliveries import Deliveries, Delivery
from hookbot.cli.live.screen import Screen
from hookbot.cli.live.view import MAX_HEIGHT, MAX_WIDTH, View
from hookbot.delivery.outcome import Attempt, Exchange, Outcome
from hookbot.protocol.message import Gap, Message

HOSTILE = "\x1b]0;evil\x07[bold]\u202e\r\n"


class Idle:
    """Controls of which none does anything."""

    is_paused = False

    def pause_or_go_on(self) -> None:
        self.is_paused = not self.is_paused

    def deliver_again(self, delivery: Delivery) -> str:
        return "it cannot be"

    def retry_all(self) -> str:
        return ""

    def quit(self) -> None:
        pass


class Scene:
    """A screen and its view; the time is 1000 seconds."""

    def __init__(self, *, delivers: bool = True, title: str = "forward  here → there") -> None:
        self.deliveries = Deliveries(now=lambda: 1000.0)
        self.screen = Screen(self.deliveries, Idle(), title, delivers=delivers)
        self.view = View(self.screen)

    def deliver(self, result: str = "", seconds: float = 0, topic: str = "t", body: bytes = b"", **ending: Any) -> None:
        message = Message(topic, body, time_us=1_700_000_000_000_000)
        self.deliveries.taken(message)
        self.deliveries.begun(message, 1)
        if "running" not in ending:
            self.deliveries.ended(Attempt(message, 1, Outcome("in words", result, seconds), **ending))
            if "retry_in_s" not in ending:
                self.deliveries.released(message)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.screen.press(key)

    def draw(self, width: int = 100, height: int = 12) -> list[str]:
        """The lines without colours."""
        return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in self.view.draw(width, height)]


def test_an_empty_list_says_so() -> None:
    scene = Scene()
    lines = scene.draw()
    assert lines[0].startswith(" forward  here → there")
    assert lines[0].endswith("0 done ")
    assert lines[1] == " Nothing has come yet."
    assert lines[-1].startswith(" q quit  ? help ")
    scene.press("/", "x")
    assert scene.draw()[1] == " Nothing matches the filter."


@pytest.mark.parametrize("keys", [(), ("?", "end")])
def test_a_title_that_is_too_long_for_its_line_is_shown_in_whole_before_anything_comes_and_beneath_the_help(
    keys: tuple[str, ...],
) -> None:
    url = f"http://hub.example.com/unsafe/pub/tunnel/{'x' * 26}"
    scene = Scene(title=f"tunnel  {url} → http://localhost:3000/")
    scene.press(*keys)
    top, *lines = (line.strip() for line in scene.draw(width=len(url) + 1))
    assert url not in top
    assert url in lines
    assert "→ http://localhost:3000/" in lines


@pytest.mark.parametrize(
    ("ending", "shown"),
    [
        ({"result": "200", "seconds": 0.0432}, ("200", "43 ms")),
        ({"result": "200", "seconds": 12.3}, ("200", "12.3 s")),
        ({}, ("done", "")),
        ({"running": True}, ("...", "")),
        ({"result": "503", "seconds": 1, "retry_in_s": 3.2}, ("503, again in 4 s", "1.0 s")),
        ({"retry_in_s": 100}, ("failed, again in 100 s", "")),
        ({"retry_in_s": 3600}, ("failed, again in 1h", "")),
        ({"result": "timeout", "kept_in": "lost.jsonl"}, ("timeout, given up", "")),
    ],
)
def test_a_row_tells_what_became_of_a_message(ending: dict[str, Any], shown: tuple[str, str]) -> None:
    scene = Scene()
    scene.deliver(body=b'{"type": "invoice.paid"}', topic="shop/eu", **ending)
    row = scene.draw(120)[1]
    _, event, topic, *rest = re.split(r"\s{2,}", row)
    assert re.fullmatch(r">\d\d:\d\d:\d\d", row[:9])
    assert (event, topic, rest[-1]) == ("invoice.paid", "shop/eu", "24 B")
    status, duration = shown
    assert rest[:-1] == ([status, duration] if duration else [status])


def test_further_attempts_and_failures_by_hand_are_told_apart() -> None:
    scene = Scene()
    scene.deliver("200")
    [delivery] = scene.deliveries
    scene.deliveries.begin(delivery.message)
    assert "attempt 2 ..." in scene.draw()[1]
    scene.deliveries.conclude(delivery.message, "failed", Outcome("no", "500"))
    assert "  500   " in scene.draw()[1]


def test_what_is_only_received_has_no_status() -> None:
    scene = Scene(delivers=False)
    scene.deliveries.receive(Message("t", b"12"))
    lines = scene.draw()
    assert "1 received" in lines[0]
    assert re.search(r"t +2 B$", lines[1])
    assert "again" not in lines[-1]


def test_the_title_counts_and_tells_a_pause() -> None:
    scene = Scene()
    scene.deliver()
    scene.deliver(kept_in="x")
    scene.deliveries.taken(Message("t"))
    scene.deliveries.missed(Gap("retention", None, "x"))
    scene.press("p")
    lines = scene.draw()
    assert "PAUSED   1 done, 1 given up, 1 behind, 1 gap" in lines[0]
    scene.deliveries.missed(Gap("retention", None, "x"))
    assert "2 gaps" in scene.draw()[0]
    assert "p go on" in lines[-1]


def test_the_selected_delivery_is_in_sight() -> None:
    scene = Scene()
    for n in range(40):
        scene.deliver(topic=f"t{n}")

    def visible() -> list[str]:
        return re.findall(r"\bt\d+\b", "\n".join(scene.draw(height=8)))

    assert visible() == ["t35", "t36", "t37", "t38", "t39"]
    scene.press("home")
    assert visible() == ["t0", "t1", "t2", "t3", "t4"]
    scene.press(*["down"] * 5)
    assert visible() == ["t1", "t2", "t3", "t4", "t5"]
    scene.press("up")
    assert visible() == ["t1", "t2", "t3", "t4", "t5"]
    scene.press("/", "t", "3", "9")
    assert visible() == ["t39", "t39"]


def test_a_delivery_is_scrolled_as_far_as_there_is_something() -> None:
    scene = Scene()
    scene.deliver("200", body=b"\n".join(b"line %d" % n for n in range(50)))
    scene.press("enter")
    assert scene.draw()[1] == "message  t"
    scene.press("end")
    assert scene.draw()[9] == "line 49"
    scene.press("up")
    assert scene.draw()[9] == "line 48"
    scene.press("home", "down")
    assert scene.draw()[2] == ""


def test_a_delivery_is_drawn_anew_when_it_changes() -> None:
    scene = Scene()
    scene.deliver("200")
    scene.press("enter")
    assert "in words" in "\n".join(scene.draw())
    [delivery] = scene.deliveries
    scene.deliveries.begin(delivery.message)
    exchange = Exchange((), 404, (), b"nothing here", True)
    scene.deliveries.conclude(delivery.message, "failed", Outcome("other words", "404", 1, exchange))
    assert "other words" in "\n".join(scene.draw(height=20))
    assert "nothing here" in "\n".join(scene.draw(height=20))


def test_the_help_names_the_keys_that_do_something() -> None:
    scene = Scene()
    scene.press("?")
    assert "next attempt" in "\n".join(scene.draw(height=40))
    scene = Scene(delivers=False)
    scene.press("?")
    assert "next attempt" not in "\n".join(scene.draw(height=40))


def test_a_notice_and_the_filter_stand_below() -> None:
    scene = Scene()
    scene.deliver()
    scene.press("r")
    assert scene.draw()[-2] == " it cannot be"
    scene.press("/", "t")
    assert scene.draw()[-2] == " filter: t "
    assert "enter keep" in scene.draw()[-1]
    scene.press("enter", "r")
    assert scene.draw()[-2] == " filter: t  it cannot be"


@given(
    text=st.text(st.characters(codec=None), max_size=50),
    body=st.binary(max_size=200) | st.text(max_size=100).map(lambda text: text.encode("utf-8", "replace")),
    size=st.tuples(st.integers(1, 120), st.integers(1, 30)),
)
def test_whatever_comes_is_drawn_within_its_lines(text: str, body: bytes, size: tuple[int, int]) -> None:
    scene = Scene(title=text)
    message = Message(text, body, ((text, text),), query=text, id=text)
    exchange = Exchange(message.headers, 200, (("Content-Type", text),), body, False)
    scene.deliveries.begun(message, 1)
    scene.deliveries.ended(Attempt(message, 1, Outcome(text, text, 1, exchange), kept_in=text))
    for keys in ((), ("enter",), ("escape", "/", *text[:5])):
        scene.press(*keys)
        lines = scene.draw(*size)
        assert len(lines) == size[1]
        assert max(map(cell_len, lines)) <= size[0]
        assert all(each.isprintable() or each in "\u200c\u200d" for line in lines for each in line)


@pytest.mark.parametrize("page", [(), ("enter",), ("?",), ("/", "x")])
@pytest.mark.parametrize("size", [(1, 1), (2, 2), (10, 3), (20, 4), (45, 8), (80, 24), (240, 80), (9999, 9999)])
def test_it_fits_into_any_terminal(page: tuple[str, ...], size: tuple[int, int]) -> None:
    scene = Scene(title="x" * 300)
    for n in range(100):
        scene.deliver(str(n), 1, f"日本語/{n}" * 10, body=b'{"type": "a.b", "n": "%s"}' % (b"x" * 3000))
    scene.press(*page)

    lines = scene.draw(*size)

    assert len(lines) == min(size[1], MAX_HEIGHT)
    assert max(map(cell_len, lines)) <= min(size[0], MAX_WIDTH)


def test_nothing_from_outside_controls_the_terminal_or_is_markup() -> None:
    scene = Scene(title=HOSTILE)
    body = b'{"type": "[red]\\u001b[31m"}'
    message = Message(HOSTILE, body, ((HOSTILE, HOSTILE),), query=HOSTILE)
    exchange = Exchange(message.headers, 200, message.headers, HOSTILE.encode(), True)
    scene.deliveries.begun(message, 1)
    scene.deliveries.ended(Attempt(message, 1, Outcome(HOSTILE, HOSTILE, 1, exchange)))
    scene.screen.notice = HOSTILE
    for keys in ((), ("enter",)):
        scene.press(*keys)
        drawn = "".join(scene.view.draw(200, 60))
        assert not set(re.sub(r"\x1b\[[0-9;]*m", "", drawn)) & set("\x1b\x07\r\n\u202e")
        assert "[red]" in drawn
        assert "[bold]" in drawn
    scene.screen.page = "list"
    scene.screen.notice = HOSTILE
    assert "[bold]" in scene.draw()[-2]


def test_colours_can_be_turned_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")

    def colours() -> set[str]:
        scene = Scene()
        scene.deliver("200")
        return set(re.findall(r"\x1b\[[0-9;]*3[0-7][0-9;]*m", "".join(scene.view.draw(100, 10))))

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colours()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colours()
