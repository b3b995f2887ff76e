"""A terminal with a shell, into which a test pastes what a page shows."""

import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Self

from support.ports import free_ports

# A shell is the leader of its session, so the first terminal that it opens is its own: Ctrl-C reaches what runs there.
_BASH = ["sh", "-c", 'exec bash --norc --noprofile --noediting -i <>"$0" >&0 2>&0']
# Colours, and what erases a line.
_STYLE = r"\x1b\[[0-9;]*[mK]"
_SERVE = """. .venv/bin/activate
hookbot serve --bind 127.0.0.1:8080 --router github {options} &
"""
_READY = "until curl -fs http://127.0.0.1:8080/readyz; do sleep 0.1; done\n"
# A hub or a command needs less to start, also on a busy machine.
PATIENCE_S = 60


@dataclass(frozen=True)
class Posted:
    """A request that an application received."""

    headers: Message
    body: bytes


@contextmanager
def application(port: int) -> Iterator[list[Posted]]:
    """An application that takes webhooks at this port; yields what it has received."""
    received = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(Posted(self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def do_GET(self) -> None:
            received.append(Posted(self.headers, self.path.encode()))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield received
        server.shutdown()


class Terminal:
    """An interactive bash in a directory that stands for a checkout, with an empty home and no more of an environment.

    In what is pasted, free ports take the place of `ports`; what is printed has those of the page again.
    """

    def __init__(self, directory: Path, ports: Sequence[int]) -> None:
        self.home = directory / "home"
        self.checkout = directory / "checkout"
        self.ports = dict(zip(ports, free_ports(len(ports)), strict=True))
        self._ends = 0
        self._printed = ""
        programs = self.home / "bin"
        programs.mkdir(parents=True)
        self._environ = {
            "HOME": str(self.home),
            "PATH": f"{programs}:/usr/bin:/bin",
            "TMPDIR": str(self.home),
            "TERM": "dumb",
        }
        (self.checkout / ".venv" / "bin").mkdir(parents=True)
        (self.checkout / ".venv" / "bin" / "activate").write_text(f'PATH="$PATH:{Path(sys.executable).parent}"\n')
        for part in ("tests", "plugins", "deploy"):
            (self.checkout / part).symlink_to(Path(__file__).parents[2] / part)

    def __enter__(self) -> Self:
        # The screen stays open here too: while nobody has it open, it cannot be read.
        self._keyboard, self._screen = os.openpty()
        self._bash = subprocess.Popen(
            [*_BASH, os.ttyname(self._screen)], cwd=self.checkout, env=self._environ, start_new_session=True
        )
        self.paste("stty -echo; PS1= PS2=\n")
        return self

    def __exit__(self, *_: object) -> None:
        if os.tcgetpgrp(self._keyboard) != self._bash.pid:
            # Two, since the first one lets a command finish what it does.
            os.write(self._keyboard, b"\x03\x03")
        self._type("kill -9 $(jobs -p)\nexit\n")
        try:
            self._bash.wait(timeout=10)
        finally:
            self._bash.kill()
            os.close(self._keyboard)
            os.close(self._screen)

    def serve(self, options: str = "") -> None:
        """Start a hub in the background, and wait until it is ready and has no more to print."""
        self.start(_SERVE.format(options=options), "github.com/repo/OWNER/NAME\n")
        self.paste(_READY)

    def paste(self, text: str) -> str:
        """Paste lines, and return what they printed; all of them must have ended."""
        self._ends += 1
        end = f"end-of-paste-{self._ends}\n"
        self._type(f"{text}echo end-of-paste-$(({self._ends}))\n")
        return self.read_until(end).removesuffix(end)

    def start(self, text: str, printed: str) -> str:
        """Paste lines whose last one does not end, and return what they print, up to `printed`."""
        self._type(text)
        return self.read_until(printed)

    def press(self, keys: str) -> None:
        """Press keys, of which no line is made."""
        os.write(self._keyboard, keys.encode())

    def stop(self) -> str:
        """Press Ctrl-C, and return what is printed until the shell is back."""
        os.write(self._keyboard, b"\x03")
        return self.paste("\n")

    def read_until(self, end: str) -> str:
        """Return what is printed, up to and with `end`."""
        while end not in self._printed:
            if not select.select([self._keyboard], [], [], PATIENCE_S)[0]:
                raise AssertionError(f"{end!r} did not come, only:\n{self._printed}")
            more = re.sub(_STYLE, "", os.read(self._keyboard, 65536).decode(errors="replace")).replace("\r\n", "\n")
            self._printed += more
            for old, new in self.ports.items():
                self._printed = self._printed.replace(f":{new}", f":{old}")
        before, _, self._printed = self._printed.partition(end)
        return before + end

    def aside(self, text: str) -> None:
        """Paste lines into another terminal of the same machine, and wait for their end."""
        subprocess.run(["bash", "-ec", self._here(text)], cwd=self.checkout, env=self._environ, check=True)

    def program(self, name: str, script: str) -> None:
        """Put a program on the path, in place of one that is no part of what is tested."""
        path = self.home / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def _type(self, text: str) -> None:
        os.write(self._keyboard, self._here(text).encode())

    def _here(self, text: str) -> str:
        for old, new in self.ports.items():
            text = re.sub(rf"\b{old}\b", str(new), text)
        return text
