"""Makefile: `make test-all` finds the Pythons that can be started."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def commands_of(target: str, home: Path) -> str:
    """Commands that `make` would run for a target, in a home directory."""
    make = ["make", "--dry-run", target, f"HOME={home}"]
    return subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def interpreter(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_python_that_pyenv_has_built_is_found(tmp_path: Path) -> None:
    python = tmp_path / ".pyenv" / "versions" / "3.99.1" / "bin" / "python"
    interpreter(python, "exit 0")

    commands = commands_of("test-3.99", tmp_path)

    assert f"{python} -m venv .venv-3.99" in commands
    assert ".venv-3.99/bin/pip install" in commands


def test_a_python_that_cannot_be_started_is_skipped(tmp_path: Path) -> None:
    interpreter(tmp_path / ".pyenv" / "versions" / "3.99.1" / "bin" / "python", "exit 127")

    commands = commands_of("test-3.99", tmp_path)

    assert "Python 3.99 is not found: skipped" in commands
    assert "-m venv" not in commands
