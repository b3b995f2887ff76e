"""Restarts of a hub under load, by a real systemd with the units of deploy/: none refused, none lost, none doubled."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support import KEY
from support.machine import Machine, running_machine

pytestmark = pytest.mark.slow

RESTARTS = 10
WITH_KEY = f"""
cp deploy/hookbot.s* /etc/systemd/system
echo 'keep = "1d"' > /etc/hookbot.toml
mkdir -p /etc/hookbot /etc/systemd/system/hookbot.service.d
printf '{KEY}' > /etc/hookbot/key
chmod 600 /etc/hookbot/key
cat > /etc/systemd/system/hookbot.service.d/key.conf <<'END'
[Service]
LoadCredential=key:/etc/hookbot/key
Environment=HOOKBOT_KEY_FILE=%d/key
END
systemctl daemon-reload
systemctl enable --now hookbot
"""


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    with running_machine(tmp_path) as machine:
        machine.paste(WITH_KEY)
        yield machine


class Load:
    """The program of `support.restart_load`, while it runs."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert process.stdout
        self._out = process.stdout

    def go_on(self) -> None:
        """Wait until some more messages were accepted."""
        # What was printed before the restart may not have been read.
        for _ in range(3):
            assert self._out.readline()

    def end(self) -> dict[str, Any]:
        """End the load, and return its report."""
        assert self._process.stdin
        self._process.stdin.close()
        report: dict[str, Any] = json.loads(list(self._out)[-1])
        return report


@contextmanager
def load_on(machine: Machine) -> Iterator[Load]:
    command = machine.in_network(sys.executable, "-m", "support.restart_load", "8080")
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            yield Load(process)
        finally:
            process.kill()


def test_ten_restarts_under_load_refuse_nobody_and_lose_nothing(machine: Machine) -> None:
    with load_on(machine) as load:
        for _ in range(RESTARTS):
            load.go_on()
            machine.run("systemctl", "restart", "hookbot")
        load.go_on()
        report = load.end()

    print(json.dumps(report, indent=1))
    assert report["accepted"] > RESTARTS
    wrong = {name: report[name] for name in ("refused", "unanswered", "lost", "doubled", "gaps")}
    assert wrong == {"refused": {}, "unanswered": {}, "lost": [], "doubled": [], "gaps": []}
