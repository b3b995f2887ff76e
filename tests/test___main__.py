"""``python -m hookbot``."""

import importlib
import sys

import pytest

import hookbot


def test_the_module_runs_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["hookbot", "--version"])
    monkeypatch.delitem(sys.modules, "hookbot.__main__", raising=False)

    # As `runpy` would, which cannot run what pytest has loaded: a plugin, like all of this package.
    with pytest.raises(SystemExit) as ended:
        importlib.import_module("hookbot.__main__")

    assert ended.value.code == 0
    assert hookbot.__version__ in capsys.readouterr().out
