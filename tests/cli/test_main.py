"""The program: its commands, and what it exits with."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from hookbot import __version__
from hookbot.cli.main import COMMANDS, Commands, main
from hookbot.errors import ConfigError, HookbotError, InvalidTopic, Unavailable


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs the program; returns what it exits with and prints."""

    def run(*args: Any) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["hookbot", *args])
        with pytest.raises(SystemExit) as leaving:
            main()
        out, err = capsys.readouterr()
        return leaving.value.code, out, err

    return run


@pytest.fixture
def a_command_that(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Makes `hookbot route` do something else."""

    def replace(callback: Callable[..., Any]) -> None:
        command = click.Command("route", callback=callback)
        monkeypatch.setattr(Commands, "get_command", lambda *_: command)

    return replace


def fail_with(error: Any) -> Callable[..., Any]:
    def fail() -> None:
        raise error

    return fail


def test_help_shows_every_command_that_is_not_short_for_another(run: Callable[..., Any]) -> None:
    code, out, _ = run("--help")
    assert code == 0
    shown = [line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line.startswith("  ")]
    assert {name for name in shown if name in COMMANDS} == set(COMMANDS) - {"t"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_called_and_explains_itself(run: Callable[..., Any], name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: hookbot {name}")


def test_the_version_is_told(run: Callable[..., Any]) -> None:
    assert run("--version") == (0, f"hookbot, version {__version__}\n", "")


@pytest.mark.parametrize("args", [[], ["nonsense"], ["--nonsense"], ["make-tokens"], ["serve", "--keep", "soon"]])
def test_wrong_usage_is_2(run: Callable[..., Any], args: list[str]) -> None:
    code, _, err = run(*args)
    assert code == 2
    assert "Usage" in err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("not like that"), 2),
        (InvalidTopic("not like that"), 3),
        (Unavailable("not like that"), 4),
        (HookbotError("not like that"), 1),
    ],
)
def test_an_error_is_one_line_and_a_number_that_says_whose_fault_it_is(
    run: Callable[..., Any], a_command_that: Callable[..., Any], error: Any, code: int
) -> None:
    a_command_that(fail_with(error))
    assert run("route") == (code, "", "hookbot: not like that\n")


def test_an_error_is_the_same_from_within_nurseries(
    run: Callable[..., Any], a_command_that: Callable[..., Any]
) -> None:
    a_command_that(fail_with(ExceptionGroup("", [ExceptionGroup("", [ConfigError("not like that")])])))
    assert run("route") == (2, "", "hookbot: not like that\n")


def test_an_interrupted_program_says_so(run: Callable[..., Any], a_command_that: Callable[..., Any]) -> None:
    a_command_that(fail_with(KeyboardInterrupt()))
    assert run("route")[0] == 130


def test_a_command_may_choose_what_it_exits_with(run: Callable[..., Any], a_command_that: Callable[..., Any]) -> None:
    a_command_that(lambda: click.get_current_context().exit(17))
    assert run("route")[0] == 17


def test_a_command_that_is_done_exits_with_0(run: Callable[..., Any], a_command_that: Callable[..., Any]) -> None:
    a_command_that(lambda: "some result")
    assert run("route") == (0, "", "")


def test_what_nobody_expected_is_loud(a_command_that: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hookbot", "route"])
    a_command_that(fail_with(ExceptionGroup("", [ConfigError("known"), ZeroDivisionError()])))
    with pytest.raises(ExceptionGroup):
        main()


@pytest.mark.parametrize("args", [["--bind", "nonsense"], ["--router", "nonsense"], ["--store", "nonsense"]])
def test_a_hub_that_cannot_start_says_why_and_shows_no_traceback(tmp_path: Path, args: list[str]) -> None:
    args = ["--bind", "127.0.0.1:0", "--data-dir", str(tmp_path), *args]
    ended = subprocess.run(
        [sys.executable, "-m", "hookbot", "serve", *args], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 2
    assert "nonsense" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
