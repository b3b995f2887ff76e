"""Screens: which deliveries of a live view are shown and how, and what each key changes."""

from typing import Literal, Protocol

from .deliveries import Deliveries, Delivery

Page = Literal["list", "delivery", "help"]

MAX_FILTER = 200
"""Characters of a filter."""


class Controls(Protocol):
    """Controls of the command that a live view shows, for its keys."""

    @property
    def is_paused(self) -> bool:
        """True while the command is held up."""

    def pause_or_go_on(self) -> None:
        """Hold the command up, or let it go on."""

    def deliver_again(self, delivery: Delivery) -> str:
        """Begin an attempt at a delivery now, and return "", or why that cannot be."""

    def retry_all(self) -> str:
        """Begin an attempt now at each delivery that waits for one; return how many those are, in words."""

    def quit(self) -> None:
        """End the command, as Ctrl-C does."""


class Screen:
    """State of a live view: a page, the delivery that is selected on it, the filter, and a notice.

    In the list, the newest delivery stays selected until somebody selects another one.
    """

    def __init__(self, deliveries: Deliveries, controls: Controls, title: str, *, delivers: bool) -> None:
        """`delivers` is False for a command that only shows what comes, so that nothing can be retried."""
        self.deliveries = deliveries
        self.controls = controls
        self.title = title
        self.delivers = delivers
        self.page: Page = "list"
        self.filter = ""
        self.is_typing = False
        """True while keys are characters of the filter."""
        self.notice = ""
        self.scroll = 0
        """First line shown of the page, of a delivery or of the help."""
        self.top = 0
        """Index of the first delivery shown of the list."""
        self.rows = 1
        """Lines that the page has; known once it is drawn."""
        self._selected: Delivery | None = None

    def shown(self) -> list[Delivery]:
        """The deliveries that match the filter, oldest first."""
        return [each for each in self.deliveries if not self.filter or each.matches(self.filter)]

    def selected(self) -> Delivery | None:
        """The delivery that is selected, or open; None if there is none."""
        shown = self.shown()
        if self.page != "delivery" and self._selected not in shown:
            self._selected = None
        return self._selected or (shown[-1] if shown else None)

    def press(self, key: str) -> None:
        """Do what a key stands for; any other key does nothing."""
        if self.is_typing:
            self._type(key)
            return
        self.notice = ""
        match key:
            case "q":
                self._leave()
            case "p" | " ":
                self.controls.pause_or_go_on()
            case "?" | "h":
                self._open("help" if self.page != "help" else "list")
            case "r" if self.delivers:
                self._deliver_again()
            case "R" if self.delivers:
                self.notice = self.controls.retry_all()
            case _ if self.page == "list":
                self._press_in_list(key)
            case _:
                self._press_on_page(key)

    def _press_in_list(self, key: str) -> None:
        match key:
            case "enter" | "right" | "l":
                if selected := self.selected():
                    self._selected = selected
                    self._open("delivery")
            case "/":
                self.is_typing = True
            case "escape":
                self.filter = ""
            case _:
                self._move(key)

    def _press_on_page(self, key: str) -> None:
        match key:
            case "escape" | "enter" | "backspace":
                self._open("list")
            case "left" | "right" if self.page == "delivery":
                self._move("up" if key == "left" else "down")
                self.scroll = 0
            case "up" | "k":
                self.scroll -= 1
            case "down" | "j":
                self.scroll += 1
            case "page up":
                self.scroll -= self.rows
            case "page down":
                self.scroll += self.rows
            case "home" | "g":
                self.scroll = 0
            case "end" | "G":
                # As far as there is something, which drawing knows.
                self.scroll = 1 << 30
        self.scroll = max(0, self.scroll)

    def _move(self, key: str) -> None:
        shown = self.shown()
        steps = {"up": -1, "k": -1, "down": 1, "j": 1, "page up": -self.rows, "page down": self.rows}
        steps |= {"home": -len(shown), "g": -len(shown), "end": len(shown), "G": len(shown)}
        selected = self.selected()
        if key not in steps or selected is None:
            return
        # The one that is open may be dropped, as the oldest are.
        at = shown.index(selected) if selected in shown else -1
        index = max(0, min(len(shown) - 1, at + steps[key]))
        follows = index == len(shown) - 1 and self.page == "list"
        self._selected = None if follows or not shown else shown[index]

    def _type(self, key: str) -> None:
        match key:
            case "enter":
                self.is_typing = False
            case "escape":
                self.is_typing, self.filter = False, ""
            case "backspace":
                self.filter = self.filter[:-1]
            case "clear":
                self.filter = ""
            case "up" | "down" | "page up" | "page down" | "home" | "end":
                self._move(key)
            case _ if len(key) == 1:
                self.filter = (self.filter + key)[:MAX_FILTER]

    def _open(self, page: Page) -> None:
        self.page, self.scroll = page, 0
        if page == "list" and self._selected in self.shown()[-1:]:
            # It goes on with the newest one.
            self._selected = None

    def _leave(self) -> None:
        if self.page == "list":
            self.controls.quit()
        else:
            self._open("list")

    def _deliver_again(self) -> None:
        if selected := self.selected():
            self.notice = self.controls.deliver_again(selected)
