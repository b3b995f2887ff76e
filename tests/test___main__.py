"""``python -m hookbot``."""

import runpy
import sys

import pytest

import hookbot


def test_the_module_runs_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["hookbot", "--version"])

    with pytest.raises(SystemExit) as ended:
        runpy.run_module("hookbot", run_name="__main__")

    assert ended.value.code == 0
    assert hookbot.__version__ in capsys.readouterr().out
