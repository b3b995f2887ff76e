"""A real terminal: a pane of tmux in which bash runs, whose keys are pressed and whose screen is read."""

import os
import shlex
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio

from support import GUARD_S

# Nothing but the pane, and no delay before an escape key reaches it.
_SETTINGS = """
set -g status off
set -g default-terminal tmux-256color
set -sg escape-time 0
"""
# As `needs_chromium`.
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None and "CI" not in os.environ, reason="needs tmux")

HOOKBOT = f"{shlex.quote(sys.executable)} -m hookbot"


class Pane:
    """A pane of tmux. `until` waits for what it shows, and is woken by each output of what runs there."""

    def __init__(self, directory: Path) -> None:
        self._socket = directory / "socket"
        self._output = directory / "output"
        os.mkfifo(self._output)
        # For writing, too: without anybody who writes, it would be at its end.
        self._changes = trio.lowlevel.FdStream(os.open(self._output, os.O_RDWR | os.O_NONBLOCK))

    async def start(self, width: int, height: int, env: dict[str, str]) -> None:
        settings = self._socket.with_name("settings")
        settings.write_text(_SETTINGS)
        size = ("-x", str(width), "-y", str(height))
        await self._tmux("-f", str(settings), "new-session", "-d", *size, "bash --norc --noprofile -i", env=env)
        await self._tmux("pipe-pane", f"exec cat > {shlex.quote(str(self._output))}")
        await self.type("PS1='ready> '; clear")
        await self.until("ready>", without="PS1")

    async def end(self) -> None:
        with trio.CancelScope(shield=True):
            await self._tmux("kill-server")
            await self._changes.aclose()

    async def type(self, line: str) -> None:
        """Type a line, and press Enter."""
        await self.write(line)
        await self.press("Enter")

    async def write(self, text: str) -> None:
        """Type a text."""
        await self._tmux("send-keys", "-l", text)

    async def press(self, *keys: str) -> None:
        """Press keys, by the names of tmux: a, Up, Enter, Escape, C-c."""
        await self._tmux("send-keys", *keys)

    async def resize(self, width: int, height: int) -> None:
        await self._tmux("resize-window", "-x", str(width), "-y", str(height))

    async def screen(self, *options: str) -> str:
        """The text on the screen; with the option ``-e``, also its colours."""
        return await self._tmux("capture-pane", "-p", *options)

    async def until(self, *texts: str, without: str = "") -> str:
        """The screen, as soon as it shows all these texts, and not the one that it must be `without`."""
        shown = ""
        try:
            while True:
                shown = await self.screen()
                if all(text in shown for text in texts) and not (without and without in shown):
                    return shown
                await self._changes.receive_some()
        except trio.Cancelled:
            print(f"the screen has no {texts!r}, or still {without!r}:\n{shown}")
            raise

    async def _tmux(self, *words: str, env: dict[str, str] | None = None) -> str:
        ended = await trio.run_process(["tmux", "-S", str(self._socket), *words], capture_stdout=True, env=env)
        return ended.stdout.decode()


@asynccontextmanager
async def terminal(width: int = 100, height: int = 24, **env: str) -> AsyncIterator[Pane]:
    """A pane with a shell, in which `HOOKBOT` is the program. It has these variables in its environment."""
    # The path of a socket has at most about a hundred characters.
    with TemporaryDirectory(prefix="tmux-") as directory, trio.fail_after(GUARD_S):
        pane = Pane(Path(directory))
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("HOOKBOT_", "TMUX", "NO_COLOR"))
        }
        await pane.start(width, height, {**kept, "LC_ALL": "C.UTF-8", **env})
        try:
            yield pane
        finally:
            await pane.end()
