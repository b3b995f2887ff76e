"""docs/commands.md and other pages: they name every command and option, and every example can be typed."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from hookbot.cli.findings import Check
from hookbot.cli.main import UNREACHABLE, USAGE, cli

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "commands.md").read_text()
OF_SERVE = (ROOT / "docs" / "configuration.md").read_text()
SHARED, *SECTIONS = re.split(r"(?m)^## `", PAGE)
SECTION = {section.partition("`")[0]: section for section in SECTIONS}

LISTENING = {"listen", "latest", "tunnel", "forward", "exec", "replay", "record", "play"}


def commands() -> Iterator[tuple[Any, ...]]:
    """Name and command, those of groups too."""
    context = click.Context(cli)
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            yield from ((f"{name} {below}", command.commands[below]) for below in command.commands)
        else:
            yield name, command


COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_section_with_an_example_and_all_of_its_options(name: str) -> None:
    section = SECTION[name.split(maxsplit=1)[0]]
    # It has those of `forward`.
    where = section + (SECTION["forward"] if name == "tunnel" else "")
    where += (SHARED if name in LISTENING else "") + (OF_SERVE if name == "serve" else "")
    options = [option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("--")]
    assert f"hookbot {name}" in section, f"docs/commands.md has an example in each section, such as `hookbot {name}`"
    assert [option for option in options if option not in where] == [], (
        f"the section of `{name}` in docs/commands.md (of `serve` in docs/configuration.md) lacks these options"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_with_an_example_that_can_be_typed(name: str, files: None) -> None:
    help = COMMANDS[name].help
    examples = re.findall(r"(?m)^ *(?:.*\| )?(hookbot .*)$", help)
    assert name == "providers" or examples
    for line in examples:
        parse(line)


@pytest.mark.parametrize("option", [parameter.opts[0] for parameter in cli.params if parameter.opts[0] != "--version"])
def test_every_option_before_the_command_is_there(option: str) -> None:
    assert f"`{option}`" in PAGE


def test_every_exit_code_is_there() -> None:
    for code in (0, 1, USAGE, 3, UNREACHABLE, 130):
        assert f"| {code} |" in SHARED
    for check in Check:
        assert f"| {check.value} | {check.name.lower()} |" in SECTION["doctor"]
        assert str(check.value) in COMMANDS["doctor"].help


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files that the examples name."""
    for name in (
        "hookbot.toml",
        "body.json",
        "build.json",
        "deployed.json",
        "push.json",
        "deploys.jsonl",
        "lost.jsonl",
        "stripe.jsonl",
        "sms.txt",
        "token",
        "client.pem",
    ):
        (tmp_path / name).write_text("x = 1")
    # Of a hub on this machine, where topics are.
    (tmp_path / "key").write_text("k")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOKBOT_DATA_DIR", str(tmp_path))


def parse(line: str) -> None:
    """Read a command line as the program does, up to the point where it would do something."""
    line = re.sub(r'"\$\(hookbot [^)]*\)"', "https://TOKEN@hub.example.com/", line)
    words = []
    for word in shlex.split(line, comments=True):
        if word in ("|", "<", ">", ">>", "&&", "&"):
            break
        words.append(word.rstrip(";"))
    context = cli.make_context("hookbot", words[1:], resilient_parsing=False)
    words = [*context._protected_args, *context.args]
    command: click.Command = cli
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
        if isinstance(command, click.Group):
            context = command.make_context(name, words, parent=context)
            words = [*context._protected_args, *context.args]
    if "--config" in words:
        return  # it would be read
    with command.make_context(name, words, parent=context):  # which closes files
        pass


def lines_of(page: str) -> list[str]:
    text = (ROOT / page).read_text()
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)) if page.endswith(".md") else text
    return re.findall(r"(?m)(?:^|\| |ExecStart=\S*/|=\$\()(hookbot .*)$", blocks)


EXAMPLES = [
    (page, line)
    for page in (
        *(f"docs/{page.name}" for page in ROOT.glob("docs/*.md")),
        "CONTRIBUTING.md",
        "README.md",
        *(f"deploy/{u.name}" for u in ROOT.glob("deploy/*.service")),
    )
    for line in lines_of(page)
]


@pytest.mark.parametrize(("page", "line"), EXAMPLES, ids=[f"{page}: {line[:60]}" for page, line in EXAMPLES])
def test_every_example_can_be_typed(page: str, line: str, files: None, tmp_path: Path) -> None:
    parse(line.removesuffix(")").replace("/etc/hookbot.toml", "hookbot.toml").replace("${CREDENTIALS_DIRECTORY}/", ""))


def test_examples_are_found() -> None:
    assert {page.partition("/")[0] for page, _ in EXAMPLES} == {"docs", "README.md", "deploy"}
    assert len(EXAMPLES) > 60


def test_units_do_not_wait_for_what_only_a_person_can_mend_and_let_the_message_in_hand_finish() -> None:
    for unit in ("hookbot-forward.service", "hookbot-exec.service"):
        text = (ROOT / "deploy" / unit).read_text()
        assert f"RestartPreventExitStatus={USAGE} 3" in text
        assert "SuccessExitStatus=130" in text
        assert f"](../deploy/{unit})" in (ROOT / "docs" / "how-to.md").read_text()
