"""The view of a screen: its lines, as text with ANSI colours. Whatever came from outside is escaped."""

import io
import math
import textwrap
import time

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ...terminal import one_line
from ..display import age_of, duration_of, size_of
from .deliveries import Delivery
from .details import SECTION, details
from .screen import Screen

MAX_WIDTH, MAX_HEIGHT = 500, 300
"""Limits of what is drawn, whatever size a terminal claims to have."""

_BAR = "bold reverse"
_STYLES = {"received": "", "running": "cyan", "waiting": "yellow", "done": "green", "failed": "red"}
_HELP = (
    ("up, down, page up, page down, home, end", "select a delivery; at the end, the newest stays selected"),
    ("enter", "look at the request and the response; left and right go to the next one, escape goes back"),
    ("/", "filter by text in topic, event type, id, status or the beginning of the body; escape removes the filter"),
    ("p or space", "pause: nothing more is read, and no attempt begins; again to go on"),
    ("r", "deliver the selected message again, or make its next attempt now"),
    ("R", "make the next attempt now at all that wait for one"),
    ("q", "go back, or quit as Ctrl-C does: what has begun is finished, and the rest stays at the hub"),
    ("Ctrl-Z", "suspend"),
)
_RETRYING = ("r", "R")
# What narrow terminals show, too.
_OFTEN = (("?", "help"), ("p", "pause"), ("r", "again"))
_STATUS_COLUMNS = len("timeout, again in 16 s")
# Columns of a terminal from which on there is room for these.
_WITH_TIME = 50
_WITH_DURATION = 70
_WITH_SIZE = 90


class View:
    """A view of one screen. It keeps the lines of the delivery that was drawn last."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._console = Console(file=io.StringIO(), force_terminal=True, force_jupyter=False, legacy_windows=False)
        self._drawn: tuple[object, ...] = ()
        self._details: list[Text] = []

    def draw(self, width: int, height: int) -> list[str]:
        """The lines of the screen, `height` of them and none wider than `width`; fewer of both in a huge terminal."""
        width, height = min(MAX_WIDTH, width), min(MAX_HEIGHT, height)
        rows = self._screen.rows = max(1, height - 3)
        lines = [self._title(width), *self._page(width, rows), self._status(), self._keys()][:height]
        self._console.size = (width, height)
        with self._console.capture() as capture:
            for line in lines:
                line.truncate(width, overflow="ellipsis")
                self._console.print(line, no_wrap=True, overflow="crop", crop=True, highlight=False, soft_wrap=False)
        return capture.get().split("\n")[:height]

    def _page(self, width: int, rows: int) -> list[Text]:
        screen = self._screen
        if screen.page == "list":
            lines = self._list(width, rows)
        else:
            content = (
                [*_help(screen, width), *self._whole_title(width)] if screen.page == "help" else self._delivery(width)
            )
            screen.scroll = max(0, min(screen.scroll, len(content) - rows))
            lines = content[screen.scroll : screen.scroll + rows]
        return [*(line.copy() for line in lines), *(Text() for _ in range(rows - len(lines)))]

    def _title(self, width: int) -> Text:
        screen, deliveries = self._screen, self._screen.deliveries
        counts = [f"{deliveries.received} received"]
        if screen.delivers:
            counts = [f"{deliveries.done} done"]
            counts += [f"{deliveries.given_up} given up"] if deliveries.given_up else []
            counts += [f"{deliveries.behind} behind"] if deliveries.behind else []
        counts += [f"{deliveries.gaps} gap{'s' * (deliveries.gaps > 1)}"] if deliveries.gaps else []
        state = " PAUSED " if screen.controls.is_paused else ""
        right = f"{state}  {', '.join(counts)} "
        left = Text(f" {one_line(screen.title)}")
        left.truncate(max(0, width - cell_len(right)), overflow="ellipsis", pad=True)
        return Text.assemble(left, (state, "black on yellow"), right[len(state) :], style=_BAR)

    def _whole_title(self, width: int) -> list[Text]:
        """The title over several lines: of a tunnel, it has the URL that somebody is to copy."""
        return list(Text(f" {one_line(self._screen.title)}").wrap(self._console, width, overflow="fold"))

    def _list(self, width: int, rows: int) -> list[Text]:
        screen = self._screen
        shown, selected = screen.shown(), screen.selected()
        at = shown.index(selected) if selected in shown else 0
        screen.top = max(0, min(max(min(screen.top, at), at - rows + 1), len(shown) - rows))
        if not shown:
            if screen.filter:
                return [Text(" Nothing matches the filter.", "dim")]
            return [Text(" Nothing has come yet.", "dim"), Text(), *self._whole_title(width)][:rows]
        now = screen.deliveries.now()
        return [
            _row(each, width, now, delivers=screen.delivers, selected=each is selected)
            for each in shown[screen.top : screen.top + rows]
        ]

    def _delivery(self, width: int) -> list[Text]:
        selected = self._screen.selected()
        if selected is None:
            return []
        drawn = (selected, selected.state, selected.number, selected.outcome, width)
        if drawn != self._drawn:
            text = Text("\n").join(details(selected))
            self._drawn, self._details = drawn, list(text.wrap(self._console, width, tab_size=4, overflow="fold"))
        return self._details

    def _status(self) -> Text:
        screen = self._screen
        if screen.is_typing:
            return Text.assemble(" filter: ", one_line(screen.filter), (" ", "reverse"))
        notice = Text(f" {one_line(screen.notice)}", "yellow")
        return Text.assemble((f" filter: {one_line(screen.filter)} ", "bold"), notice) if screen.filter else notice

    def _keys(self) -> Text:
        screen = self._screen
        keys = {
            "list": (("q", "quit"), *_OFTEN, ("enter", "inspect"), ("R", "retry all"), ("/", "filter")),
            "delivery": (("q", "back"), *_OFTEN, ("↑ ↓", "scroll"), ("← →", "next")),
            "help": (("q", "back"), ("↑ ↓", "scroll")),
        }[screen.page]
        if screen.is_typing:
            keys = (("enter", "keep"), ("esc", "no filter"))
        named = {"p": "go on"} if screen.controls.is_paused else {}
        shown = [(key, named.get(key, what)) for key, what in keys if screen.delivers or key not in _RETRYING]
        return Text.assemble(*(part for key, what in shown for part in ((f" {key} ", "bold"), (f"{what} ", "dim"))))


def _row(delivery: Delivery, width: int, now: float, *, delivers: bool, selected: bool) -> Text:
    """Line of a delivery in the list: time, event type, topic, status, duration and size, as far as there is room."""
    message, outcome = delivery.message, delivery.outcome
    last = [_cell(size_of(len(message.body)), 8, right=True)] if width >= _WITH_SIZE else []
    if delivers:
        duration = (
            [_cell(duration_of(outcome.seconds) if outcome and outcome.seconds else "", 8, right=True)]
            if width >= _WITH_DURATION
            else []
        )
        last = [_cell(_status_of(delivery, now), _STATUS_COLUMNS, _STYLES[delivery.state]), *duration, *last]
    first = [_cell(_time(message.time_us / 1e6), 8)] if width >= _WITH_TIME else []
    # Two columns between cells, and the mark of the one that is selected.
    left = width - 3 - sum(cell.cell_len + 2 for cell in (*first, *last))
    event = max(4, min(32, left * 2 // 5))
    middle = [_cell(delivery.event, event, "yellow"), _cell(message.topic, max(4, left - event), "cyan")]
    line = Text.assemble(">" if selected else " ", Text("  ").join([*first, *middle, *last]))
    line.stylize("reverse" if selected else "")
    return line


def _cell(text: str, width: int, style: str = "", *, right: bool = False) -> Text:
    cell = Text(one_line(text), style, no_wrap=True)
    cell.truncate(width, overflow="ellipsis")
    cell.align("right" if right else "left", width)
    return cell


def _status_of(delivery: Delivery, now: float) -> str:
    result = delivery.outcome.result if delivery.outcome else ""
    match delivery.state:
        case "running":
            return f"attempt {delivery.number} ..." if delivery.number > 1 else "..."
        case "waiting":
            seconds = max(0, math.ceil(delivery.due - now))
            return f"{result or 'failed'}, again in {f'{seconds} s' if seconds < 1000 else age_of(seconds)}"
        case "failed":
            return f"{result or 'failed'}, given up" if delivery.kept_in else result or "failed"
        case _:
            return result or "done"


def _time(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))


def _help(screen: Screen, width: int) -> list[Text]:
    lines = [Text(), Text(" Keys", SECTION), Text()]
    for key, what in _HELP:
        if screen.delivers or key not in _RETRYING:
            lines += [
                Text(f" {key}", "bold"),
                *(Text(f"     {line}") for line in textwrap.wrap(what, max(20, width - 6))),
                Text(),
            ]
    return lines
