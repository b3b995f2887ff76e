"""The program: its commands, and what it exits with."""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete

from hookbot import __version__
from hookbot.cli.main import COMMANDS, cli, main
from hookbot.errors import ConfigError, HookbotError, InvalidTopic, Unavailable
from hookbot.standard_files import OutputFailed
from support import GUARD_S
from support.commands import Caller
from support.hubs import ThreadHub

Run = Callable[..., tuple[str | int | None, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the program, or another; returns its exit code and what it prints."""

    def run(*args: str, program: click.Command = cli) -> tuple[str | int | None, str, str]:
        monkeypatch.setattr(sys, "argv", ["hookbot", *args])
        with pytest.raises(SystemExit) as leaving:
            main(program)
        out, err = capsys.readouterr()
        return leaving.value.code, out, err

    return run


def module_of(name: str) -> str:
    """The module of a command."""
    return f"hookbot.cli.{COMMANDS[name][0].partition(':')[0]}"


def completing(*words: str) -> dict[str, str]:
    """The variables with which bash asks for completions of the last word."""
    line = " ".join(["hookbot", *words])
    return {"_HOOKBOT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}


def modules_after(*argv: str, **environment: str) -> set[str]:
    """The modules that a process of the program has imported at its end."""
    code = f"""
import atexit, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
from hookbot.cli import main
sys.argv = {list(argv)!r}
main()
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ, **environment}
    )
    return set(ran.stderr.split())


def failing_with(error: BaseException) -> click.Command:
    """A program that does nothing but raise an error."""

    def fail() -> None:
        raise error

    return click.Command("hookbot", callback=fail)


def test_help_shows_every_command_that_is_not_short_for_another(run: Run) -> None:
    code, out, _ = run("--help")
    assert code == 0
    shown = [line.split()[0] for line in out.partition("\nListen:")[2].splitlines() if line.startswith("  ")]
    assert {name for name in shown if name in COMMANDS} == set(COMMANDS) - {"t"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_listed_with_the_first_sentence_of_its_help(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.help is not None
    assert command.help.partition("\n\n")[0] == COMMANDS[name][1]


@pytest.mark.parametrize("environment", [{}, completing("")])
def test_a_list_of_all_commands_imports_none_of_them(environment: dict[str, str]) -> None:
    assert modules_after("hookbot", "--help", **environment) & set(map(module_of, COMMANDS)) == set()


@pytest.mark.parametrize(
    ("words", "begun", "expected"),
    [
        (["verify"], "strip", ["stripe"]),
        (["sign"], "slack", ["slack"]),
        (["serve", "--router"], "gith", ["github"]),
        (["serve", "--router"], "./jira", ["a file"]),
        (["serve", "--store"], "m", ["memory:"]),
        (["route"], "gith", ["github"]),
        (["update-ranges"], "pager", ["pagerduty"]),
        (["update-ranges"], "x", []),
    ],
)
def test_values_are_completed(words: list[str], begun: str, expected: list[str]) -> None:
    found = BashComplete(cli, {}, "hookbot", "_HOOKBOT_COMPLETE").get_completions(words, begun)
    assert ["a file" if one.type == "file" else one.value for one in found] == expected


@pytest.mark.parametrize("name", COMMANDS)
def test_the_options_of_a_command_are_completed_without_what_runs_it(name: str) -> None:
    modules = modules_after("hookbot", **completing(name, "--"))
    assert module_of(name) in modules
    assert modules & {"trio", "httpx", "quart", "cryptography"} == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_called_and_explains_itself(run: Run, name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    assert out.startswith(f"Usage: hookbot {name}")


def test_what_cannot_be_seen_around_a_variable_is_no_part_of_it_but_for_the_key(
    run: Run, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def tokens(base: str, directory: str) -> tuple[str | int | None, str, str]:
        environment.setenv("HOOKBOT_URL_BASE", base)
        environment.setenv("HOOKBOT_DATA_DIR", directory)
        return run("make-tokens", "/pub/a")

    (tmp_path / "key").write_text("k")
    expected = tokens("https://hub", str(tmp_path))
    assert expected[0] == 0
    assert tokens("\ufeffhttps://hub\r\n", f" {tmp_path}\u200b\r") == expected

    environment.setenv("HOOKBOT_KEY", "k\n")
    assert run("make-tokens", "/pub/a")[1] != expected[1]


def test_the_version_is_told(run: Run) -> None:
    assert run("--version") == (0, f"hookbot, version {__version__}\n", "")


@pytest.mark.parametrize("args", [[], ["nonsense"], ["--nonsense"], ["make-tokens"], ["serve", "--keep", "soon"]])
def test_wrong_usage_is_2(run: Run, args: list[str]) -> None:
    code, _, err = run(*args)
    assert code == 2
    assert "Usage" in err


@pytest.mark.parametrize(
    ("name", "meant"), [("listn", "listen"), ("make_tokens", "make-tokens"), ("Serve", "serve"), ("servers", "serve")]
)
def test_a_command_that_is_nearly_one_is_told_with_it(run: Run, name: str, meant: str) -> None:
    assert f"No such command '{name}'. Did you mean '{meant}'?" in run(name)[2]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("not like that"), 2),
        (InvalidTopic("not like that"), 3),
        (Unavailable("not like that"), 4),
        (HookbotError("not like that"), 1),
        (OutputFailed(OSError(errno.ENOSPC, "")), 1),
        (PermissionError(errno.EACCES, "", "/some/file"), 2),
    ],
)
def test_an_error_is_one_line_and_a_code_that_says_whose_fault_it_is(run: Run, error: Exception, code: int) -> None:
    sentence = {
        OutputFailed: "standard output cannot be written: No space left on device",
        PermissionError: "/some/file: Permission denied",
    }.get(type(error), "not like that")
    assert run(program=failing_with(error)) == (code, "", f"hookbot: {sentence}\n")


def test_a_reader_who_leaves_is_a_normal_end(run: Run) -> None:
    assert run(program=failing_with(OutputFailed(BrokenPipeError()))) == (0, "", "")


def test_an_error_of_what_has_no_name_is_unexpected_and_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hookbot"])
    with pytest.raises(ConnectionResetError):
        main(failing_with(ConnectionResetError()))


def test_an_error_does_nothing_to_the_terminal(run: Run) -> None:
    said = run(program=failing_with(HookbotError("not\x1b[2J\nhookbot: like that")))[2]
    assert said == "hookbot: not\\x1b[2J\\nhookbot: like that\n"


def test_mistakes_of_a_file_have_a_line_each(run: Run) -> None:
    assert run(program=failing_with(ConfigError("a\nb\x1b")))[2] == "hookbot: a\nb\\x1b\n"


def test_an_error_is_the_same_from_within_nurseries(run: Run) -> None:
    error = ExceptionGroup("", [ExceptionGroup("", [ConfigError("not like that")])])
    assert run(program=failing_with(error)) == (2, "", "hookbot: not like that\n")


def test_an_interrupted_program_says_so(run: Run) -> None:
    assert run(program=failing_with(KeyboardInterrupt()))[0] == 130


def test_a_command_may_choose_what_it_exits_with(run: Run) -> None:
    program = click.Command("hookbot", callback=lambda: click.get_current_context().exit(17))
    assert run(program=program)[0] == 17


def test_a_command_that_is_done_exits_with_0(run: Run) -> None:
    assert run(program=click.Command("hookbot", callback=lambda: "some result")) == (0, "", "")


def test_several_errors_at_once_are_unexpected_and_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hookbot"])
    error = ExceptionGroup("", [ConfigError("known"), ZeroDivisionError()])
    with pytest.raises(ExceptionGroup):
        main(failing_with(error))


@pytest.mark.parametrize("args", [["--bind", "nonsense"], ["--router", "nonsense"], ["--store", "nonsense"]])
def test_a_hub_that_cannot_start_says_why_and_shows_no_traceback(run: Run, tmp_path: Path, args: list[str]) -> None:
    args = ["--bind", "127.0.0.1:0", "--data-dir", str(tmp_path), *args]
    code, out, err = run("serve", *args)
    assert (code, out) == (2, "")
    assert "nonsense" in err
    assert "Traceback" not in err


MALFORMED = ("http://s3cret@hub℀.example/sub/x", "http://s3cret@[::1/sub/x", "http://s3cret@hub:port/sub/x")
WITH_A_URL = [
    *(("listen",), ("latest",), ("doctor",), ("publish", "{url}", "/dev/null"), ("narrow", "--live")),
    *(("forward", "{url}", "http://localhost:9"), ("forward", "http://hub/sub/x"), ("exec", "{url}", "--", "true")),
    *(
        ("replay", "--since", "1h", "{url}", "--to", "http://x"),
        ("replay", "--since", "1h", "http://x/sub/x", "--publish"),
    ),
    *(("cursors", "list", "--url"), ("routers", "--url"), ("make-tokens", "/sub/x", "-U"), ("make-tokens",)),
    ("exec", "http://hub/sub/x", "--max-attempts", "1", "--dead-letter", "{url}", "--", "true"),
]


@pytest.mark.parametrize("url", MALFORMED)
@pytest.mark.parametrize("words", WITH_A_URL, ids=" ".join)
def test_no_command_shows_the_token_of_a_malformed_url(
    call: Caller, environment: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], url: str
) -> None:
    environment.setenv("HOOKBOT_DATA_DIR", str(tmp_path))
    shown = [word.replace("{url}", url) for word in (*words, *(("{url}",) if "{url}" not in words else ()))]

    code, out, err = call(*shown)

    assert code in (2, 3)
    assert "malformed" in err
    assert "s3cret" not in out.decode() + err


MISPLACED = [
    ("publish", "build.json", "{url}"),
    ("publish", "http://127.0.0.1:9/pub/x", "{url}"),
    ("forward", "http://127.0.0.1:9/sub/x", "http://127.0.0.1:9", "{url}"),
    ("listen", "http://127.0.0.1:9/sub/x", "{url}"),
    ("listen", "--cafile", "{url}", "http://127.0.0.1:9/sub/x"),
    ("listen", "--limit", "{url}", "http://127.0.0.1:9/sub/x"),
    ("serve", "{url}"),
    ("serve", "--config", "{url}"),
    ("serve", "--keep", "{url}"),
    ("check-config", "{url}"),
    ("verify", "{url}", "--secret", "x"),
    ("new-router", "{url}", "here"),
    ("update-ranges", "{url}"),
    ("cursors", "{url}"),
    ("{url}",),
]


@pytest.mark.parametrize("words", MISPLACED, ids=" ".join)
def test_no_command_shows_the_token_of_a_url_in_the_wrong_place(
    call: Caller, environment: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...]
) -> None:
    environment.chdir(tmp_path)
    code, out, err = call(*(word.replace("{url}", "https://s3cret@hub.example/sub/x") for word in words))

    assert code in (2, 3)
    assert "s3cret" not in out.decode() + err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("redirection", "code", "complaint"),
    [
        (">&-", 1, b"hookbot: standard output cannot be written: Bad file descriptor\n"),
        (">/dev/full", 1, b"hookbot: standard output cannot be written: No space left on device\n"),
        ("2>&-", 0, b""),
        ("2>/dev/full", 0, b""),
        ("| true", 0, b""),
    ],
)
@pytest.mark.parametrize("words", ["--version", "--help", "providers", "routers", "make-tokens /sub/x", "serve --help"])
def test_output_that_goes_nowhere_is_told_in_a_sentence(
    environment: pytest.MonkeyPatch, words: str, redirection: str, code: int, complaint: bytes
) -> None:
    environment.setenv("HOOKBOT_KEY", "k" * 32)
    script = f"set -o pipefail; {sys.executable} -m hookbot {words} {redirection}"

    ended = subprocess.run(["bash", "-c", script], check=False, capture_output=True, timeout=GUARD_S)

    assert (ended.returncode, ended.stderr) == (code, complaint)


@pytest.mark.slow
@pytest.mark.parametrize("redirection", [">/dev/full", "2>/dev/full", "| true", "<&- >&- 2>&-"])
def test_no_command_falls_over_output_that_goes_nowhere(
    thread: ThreadHub, environment: pytest.MonkeyPatch, tmp_path: Path, redirection: str
) -> None:
    environment.setenv("HOOKBOT_KEY", "k" * 32)
    thread.publish("a", b"x")
    one = f"--since all --limit 1 {thread.url_for('/sub/a')}"
    printing = [f"listen {one}", f"narrow {thread.url_for('/sub/a')} --live", f"new-router x {tmp_path}/x"]
    others = {"": 2, "nonsense": 2, "serve --nonsense": 2, "update-ranges nonsense": 2, f"exec {one} -- echo hi": 0}
    others[f"forward --max-attempts 1 --dead-letter stop {one} http://127.0.0.1:1"] = 1
    fails = redirection in (">/dev/full", "<&- >&- 2>&-")
    for words, code in {**dict.fromkeys(printing, int(fails)), **others}.items():
        script = f"set -o pipefail; {sys.executable} -m hookbot {words} {redirection}"

        ended = subprocess.run(["bash", "-c", script], check=False, capture_output=True, timeout=GUARD_S)

        assert ended.returncode == code, words
        assert not re.search(b"Traceback|ignored", ended.stderr), words
