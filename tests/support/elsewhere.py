"""The program without what only Linux or Unix has, as on Windows and macOS: ``python -m support.elsewhere listen ...``.

Libraries keep what they need of this machine; hookbot, imported later, finds the names gone.
"""

import os
import select
import signal
import subprocess
import sys
from types import ModuleType

import httpx
import platformdirs
import trio

LIBRARIES = subprocess, httpx, platformdirs, trio
"""Libraries that decide by `sys.platform`, imported before anything is hidden."""

MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")
NAMES = {
    select: ("epoll", "kqueue", "poll"),
    os: ("fork", "getpgid", "geteuid", "getuid", "killpg", "setsid"),
    signal: tuple(
        name
        for name in dir(signal)
        if name.startswith("SIG") and name not in ("SIGINT", "SIGTERM", "SIG_DFL", "SIG_IGN")
    ),
}


def hide() -> None:
    """Let everything that is imported from now on find a smaller system."""
    # `import` of a module that is None here raises ImportError.
    sys.modules.update(dict.fromkeys(MODULES))  # type: ignore[arg-type]
    for module, hidden in NAMES.items():
        smaller = ModuleType(module.__name__)
        smaller.__dict__.update({name: value for name, value in vars(module).items() if name not in hidden})
        sys.modules[module.__name__] = smaller


if __name__ == "__main__":
    hide()
    from hookbot.cli.main import main

    main()
