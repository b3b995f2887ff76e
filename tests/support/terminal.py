"""A terminal with a shell, into which a test pastes what a page shows."""

import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

# A shell is the leader of its session, so the first terminal that it opens is its own: Ctrl-C reaches what runs there.
_BASH = ["sh", "-c", 'exec bash --norc --noprofile --noediting -i <>"$0" >&0 2>&0']
# Colours, and what erases a line.
_STYLE = r"\x1b\[[0-9;]*[mK]"
# A whole hub starts in less, also on a busy machine.
PATIENCE_S = 100


def free_port() -> int:
    """A port of this machine that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


class Terminal:
    """An interactive bash in a directory that stands for a checkout, with an empty home and no more of an environment.

    In what is pasted, free ports take the place of `ports`; what is printed has those of the page again.
    """

    def __init__(self, directory: Path, ports: Sequence[int]) -> None:
        self.home = directory / "home"
        self.checkout = directory / "checkout"
        self.ports = {port: free_port() for port in ports}
        self._ends = 0
        self.home.mkdir()
        (self.checkout / ".venv" / "bin").mkdir(parents=True)
        (self.checkout / ".venv" / "bin" / "activate").write_text(f'PATH="{Path(sys.executable).parent}:$PATH"\n')
        for part in ("tests", "plugins", "deploy"):
            (self.checkout / part).symlink_to(Path(__file__).parents[2] / part)

    def __enter__(self) -> Self:
        # The screen stays open here too: while nobody has it open, it cannot be read.
        self._keyboard, self._screen = os.openpty()
        environ = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "TMPDIR": str(self.home), "TERM": "dumb"}
        self._bash = subprocess.Popen(
            [*_BASH, os.ttyname(self._screen)], cwd=self.checkout, env=environ, start_new_session=True
        )
        self.paste("stty -echo; PS1= PS2=\n")
        return self

    def __exit__(self, *_: object) -> None:
        # Two, since the first one lets a command finish what it does.
        os.write(self._keyboard, b"\x03\x03")
        self._type("kill -9 $(jobs -p)\nexit\n")
        try:
            self._bash.wait(timeout=10)
        finally:
            self._bash.kill()
            os.close(self._keyboard)
            os.close(self._screen)

    def paste(self, text: str) -> str:
        """Paste lines, and return what they printed; all of them must have ended."""
        self._ends += 1
        self._type(f"{text}echo end-of-paste-$(({self._ends}))\n")
        return self._read_until(f"end-of-paste-{self._ends}\n")

    def paste_until(self, text: str, printed: str) -> str:
        """Paste lines that do not end, press Ctrl-C once they have printed `printed`, and return what they printed."""
        self._type(text)
        before = self._read_until(printed)
        os.write(self._keyboard, b"\x03")
        return before + self.paste("\n")

    def _type(self, text: str) -> None:
        for old, new in self.ports.items():
            text = re.sub(rf"\b{old}\b", str(new), text)
        os.write(self._keyboard, text.encode())

    def _read_until(self, end: str) -> str:
        printed = ""
        while end not in printed:
            if not select.select([self._keyboard], [], [], PATIENCE_S)[0]:
                raise AssertionError(f"{end!r} did not come, only:\n{printed}")
            printed += os.read(self._keyboard, 65536).decode().replace("\r\n", "\n")
            printed = re.sub(_STYLE, "", printed)
            for old, new in self.ports.items():
                printed = printed.replace(f":{new}", f":{old}")
        return printed.removesuffix(end)
