"""The program: its commands, and what it exits with."""

import subprocess
import sys

import click
import pytest

from hookbot import __version__
from hookbot.cli.main import COMMANDS, Commands, main
from hookbot.errors import ConfigError, HookbotError, InvalidTopic, Unavailable


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the program; returns what it exits with and prints."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["hookbot", *args])
        with pytest.raises(SystemExit) as leaving:
            main()
        out, err = capsys.readouterr()
        return leaving.value.code, out, err

    return run


@pytest.fixture
def a_command_that(monkeypatch):
    """Makes `hookbot route` do something else."""

    def replace(callback):
        command = click.Command("route", callback=callback)
        monkeypatch.setattr(Commands, "get_command", lambda *_: command)

    return replace


def fail_with(error):
    def fail():
        raise error

    return fail


def test_help_shows_every_command_that_is_not_short_for_another(run):
    code, out, _ = run("--help")
    assert code == 0
    shown = [line.split()[0] for line in out.partition("Commands:")[2].splitlines() if line.startswith("  ")]
    assert {name for name in shown if name in COMMANDS} == set(COMMANDS) - {"t"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_called_and_explains_itself(run, name):
    code, out, _ = run(name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: hookbot {name}")


def test_the_version_is_told(run):
    assert run("--version") == (0, f"hookbot, version {__version__}\n", "")


@pytest.mark.parametrize("args", [[], ["nonsense"], ["--nonsense"], ["make-tokens"], ["serve", "--keep", "soon"]])
def test_wrong_usage_is_2(run, args):
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
def test_an_error_is_one_line_and_a_number_that_says_whose_fault_it_is(run, a_command_that, error, code):
    a_command_that(fail_with(error))
    assert run("route") == (code, "", "hookbot: not like that\n")


def test_an_error_is_the_same_from_within_nurseries(run, a_command_that):
    a_command_that(fail_with(ExceptionGroup("", [ExceptionGroup("", [ConfigError("not like that")])])))
    assert run("route") == (2, "", "hookbot: not like that\n")


def test_an_interrupted_program_says_so(run, a_command_that):
    a_command_that(fail_with(KeyboardInterrupt()))
    assert run("route")[0] == 130


def test_a_command_may_choose_what_it_exits_with(run, a_command_that):
    a_command_that(lambda: click.get_current_context().exit(17))
    assert run("route")[0] == 17


def test_a_command_that_is_done_exits_with_0(run, a_command_that):
    a_command_that(lambda: "some result")
    assert run("route") == (0, "", "")


def test_what_nobody_expected_is_loud(a_command_that, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["hookbot", "route"])
    a_command_that(fail_with(ExceptionGroup("", [ConfigError("known"), ZeroDivisionError()])))
    with pytest.raises(ExceptionGroup):
        main()


@pytest.mark.parametrize("args", [["--bind", "nonsense"], ["--router", "nonsense"], ["--store", "nonsense"]])
def test_a_hub_that_cannot_start_says_why_and_shows_no_traceback(tmp_path, args):
    args = ["--bind", "127.0.0.1:0", "--data-dir", str(tmp_path), *args]
    ended = subprocess.run(
        [sys.executable, "-m", "hookbot", "serve", *args], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert "nonsense" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
