"""Screens, and what each key changes."""

import pytest

from hookbot.cli.live.deliveries import Deliveries, Delivery
from hookbot.cli.live.screen import MAX_FILTER, Screen
from hookbot.protocol.message import Message


class Recorded:
    """Controls that record how they are used."""

    def __init__(self) -> None:
        self.is_paused = False
        self.used: list[str] = []

    def pause_or_go_on(self) -> None:
        self.is_paused = not self.is_paused

    def deliver_again(self, delivery: Delivery) -> str:
        self.used.append(f"again {delivery.message.topic}")
        return "not now"

    def retry_all(self) -> str:
        self.used.append("retry all")
        return "two of them"

    def quit(self) -> None:
        self.used.append("quit")


class Scene:
    """A screen of some messages, with the topics t0, t1 and so on."""

    def __init__(self, count: int = 5, *, delivers: bool = True) -> None:
        self.deliveries = Deliveries()
        self.controls = Recorded()
        self.screen = Screen(self.deliveries, self.controls, "title", delivers=delivers)
        self.screen.rows = 3
        for n in range(count):
            self.add(n)

    def add(self, n: int) -> None:
        self.deliveries.receive(Message(f"t{n}"))

    def press(self, *keys: str) -> None:
        for key in keys:
            self.screen.press(key)

    @property
    def selected(self) -> str:
        delivery = self.screen.selected()
        return delivery.message.topic if delivery else ""


def test_the_newest_is_selected_until_somebody_selects_another_one() -> None:
    scene = Scene()
    assert scene.selected == "t4"
    scene.add(5)
    assert scene.selected == "t5"
    scene.press("up", "up")
    scene.add(6)
    assert scene.selected == "t3"
    scene.press("end")
    scene.add(7)
    assert scene.selected == "t7"


@pytest.mark.parametrize(
    ("keys", "selected"),
    [
        (("up", "k"), "t2"),
        (("up", "up", "down"), "t3"),
        (("home",), "t0"),
        (("g", "j"), "t1"),
        (("home", "up"), "t0"),
        (("page up",), "t1"),
        (("page up", "page up"), "t0"),
        (("home", "page down"), "t3"),
        (("home", "G"), "t4"),
        (("x",), "t4"),
    ],
)
def test_keys_select_another_one(keys: tuple[str, ...], selected: str) -> None:
    scene = Scene()
    scene.press(*keys)
    assert scene.selected == selected


def test_where_nothing_is_nothing_is_selected_or_done() -> None:
    scene = Scene(0)
    scene.press("up", "end", "enter", "r")
    assert (scene.selected, scene.screen.page, scene.controls.used) == ("", "list", [])


def test_a_delivery_is_opened_with_its_neighbours_beside_it() -> None:
    scene = Scene()
    scene.press("enter")
    assert (scene.screen.page, scene.selected) == ("delivery", "t4")
    scene.add(5)
    assert scene.selected == "t4"
    scene.press("down", "left")
    assert (scene.selected, scene.screen.scroll) == ("t3", 0)
    scene.press("right", "right", "right")
    assert scene.selected == "t5"
    scene.press("escape")
    assert scene.screen.page == "list"
    scene.add(6)
    assert scene.selected == "t6"


def test_one_that_was_left_stays_selected_unless_it_is_the_newest() -> None:
    scene = Scene()
    scene.press("up", "enter", "q")
    scene.add(5)
    assert (scene.selected, scene.screen.page, scene.controls.used) == ("t3", "list", [])


def test_one_that_was_dropped_stays_open_and_is_no_longer_selected() -> None:
    scene = Scene(1)
    scene.press("enter")
    for n in range(1, 600):
        scene.add(n)
    assert scene.selected == "t0"
    scene.press("left")
    assert scene.selected == "t100"
    scene.press("escape")
    assert scene.selected == "t100"


def test_a_page_is_scrolled() -> None:
    scene = Scene()
    scene.press("enter", "down", "j", "page down", "up", "k")
    assert scene.screen.scroll == 3
    scene.press("page up", "page up")
    assert scene.screen.scroll == 0
    scene.press("end")
    assert scene.screen.scroll > 1000
    scene.press("home")
    assert scene.screen.scroll == 0


def test_a_filter_is_typed() -> None:
    scene = Scene(12)
    scene.press("/", *"tq11", "backspace", "backspace", "backspace", "1")
    assert (scene.screen.filter, scene.screen.is_typing, scene.controls.used) == ("t1", True, [])
    assert [each.message.topic for each in scene.screen.shown()] == ["t1", "t10", "t11"]
    scene.press("up")
    assert scene.selected == "t10"
    scene.press("enter")
    assert not scene.screen.is_typing
    scene.press("/", "1", "1")
    assert scene.selected == ""
    scene.press("clear", *"x" * 500)
    assert len(scene.screen.filter) == MAX_FILTER
    scene.press("escape")
    assert (scene.screen.filter, scene.screen.is_typing, len(scene.screen.shown())) == ("", False, 12)


def test_escape_removes_a_filter_that_was_kept() -> None:
    scene = Scene()
    scene.press("/", "t", "2", "enter")
    assert scene.selected == "t2"
    scene.press("escape")
    assert scene.screen.filter == ""


def test_keys_control_the_command() -> None:
    scene = Scene()
    scene.press("p")
    assert scene.controls.is_paused
    scene.press(" ")
    assert not scene.controls.is_paused
    scene.press("r")
    assert scene.screen.notice == "not now"
    scene.press("R")
    assert scene.screen.notice == "two of them"
    scene.press("up")
    assert scene.screen.notice == ""
    scene.press("enter", "r", "q", "q")
    assert scene.controls.used == ["again t4", "retry all", "again t3", "quit"]


def test_where_nothing_is_delivered_nothing_is_retried() -> None:
    scene = Scene(delivers=False)
    scene.press("r", "R")
    assert scene.controls.used == []


def test_the_help_is_opened_and_closed() -> None:
    scene = Scene()
    scene.press("?", "left", "down")
    assert (scene.screen.page, scene.screen.scroll, scene.selected) == ("help", 1, "t4")
    scene.press("?")
    assert scene.screen.page == "list"
