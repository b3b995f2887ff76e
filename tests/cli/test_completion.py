"""Completion by real shells, into which the lines are typed."""

import os
import re
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from click.shell_completion import get_completion_class

from hookbot.cli.main import cli
from hookbot.cli.topics import _PLAIN_WORD
from hookbot.client.profiles import Profile, Profiles
from hookbot.testing import KEY, open_test_hub
from support import GUARD_S
from support.pages import blocks, page
from support.tmux import Pane, needs_tmux, terminal

SHELLS = ("bash", "zsh", "fish")
RC = {"bash": ".bashrc", "zsh": ".zshrc", "fish": ".config/fish/completions/hookbot.fish"}
PROMPT = {
    "bash": (".bashrc", "PS1='shell> '"),
    "zsh": (".zshrc", "PS1='shell> '"),
    "fish": (".config/fish/config.fish", "function fish_prompt; echo 'shell> '; end; function fish_greeting; end"),
}
_INSTALLATION = page("docs/commands.md").partition("\n### Shell completion\n")[2].partition("\n## ")[0]
DOCUMENTED = dict(zip(SHELLS, blocks(_INSTALLATION), strict=True))
PROGRAM = """#!{python}
import re
from hookbot.cli import main, topics
topics._COMPLETION_S = {patience}
topics._PLAIN_WORD = re.compile({words!r})
main()
"""

Open = Callable[[str], AbstractAsyncContextManager[Pane]]


@pytest.fixture(params=[pytest.param(name, marks=[needs_tmux, pytest.mark.slow]) for name in SHELLS])
def shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None and "CI" not in os.environ:
        pytest.skip(f"needs {name}")
    return name


@pytest.fixture
def words() -> str:
    """Pattern of topics that are completed."""
    return _PLAIN_WORD.pattern


@pytest.fixture
def opened(shell: str, words: str, tmp_path: Path) -> Open:
    """Opens a terminal with the shell, in which completion is installed as the documentation says."""
    home = tmp_path / "home"
    for name, text in ((RC[shell], DOCUMENTED[shell]), PROMPT[shell]):
        file = home / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as lines:
            lines.write(f"{text}\n")
    program = tmp_path / "bin" / "hookbot"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable, patience=GUARD_S, words=words))
    program.chmod(0o755)

    @asynccontextmanager
    async def open_shell(url: str) -> AsyncIterator[Pane]:
        env = {
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_DATA_HOME": str(home),
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "HOOKBOT_KEY": KEY,
            "HOOKBOT_URL_BASE": url,
        }
        async with terminal(120, 40, **env) as pane:
            await pane.type(f"cd {home}; exec {shell}")
            await pane.until("shell>")
            yield pane

    return open_shell


async def complete(pane: Pane, typed: str, *expected: str, tabs: int = 1) -> None:
    """Type the begin of a line, press Tab, and wait for what is expected; then the line is empty again."""
    await pane.write(typed)
    await pane.until(typed)
    for _ in range(tabs):
        await pane.press("Tab")
    await pane.until(*expected)
    await pane.press("C-u", "C-l")
    await pane.until("shell>", without=typed)


async def test_commands_options_and_files_are_completed(opened: Open, tmp_path: Path) -> None:
    (tmp_path / "home" / "recorded.jsonl").touch()
    async with opened("http://localhost:1") as pane:
        for typed, expected in (
            ("hookbot lis", "hookbot listen"),
            ("hookbot listen --cu", "hookbot listen --cursor"),
            ("hookbot sign stan", "hookbot sign standard-webhooks"),
            ("hookbot play rec", "hookbot play recorded.jsonl"),
            ("hookbot listen --cafile=rec", "hookbot listen --cafile=recorded.jsonl"),
        ):
            await complete(pane, typed, expected)


async def test_topics_are_completed_whatever_is_in_them(opened: Open) -> None:
    async with open_test_hub() as hub:
        for topic in ("colon/a:b:c", "comma/a,b=c", "at@x", "Größe/ß"):
            await hub.publish(topic, b"")
        async with opened(hub.url) as pane:
            for typed, expected in (
                ("hookbot listen colon/a:b", "hookbot listen colon/a:b:c"),
                ("hookbot listen comma/a,", "hookbot listen comma/a,b=c"),
                ("hookbot listen comma/a,b=", "hookbot listen comma/a,b=c"),
                ("hookbot listen Größ", "hookbot listen Größe/ß"),
                ("hookbot listen 'colon/", "hookbot listen 'colon/a:b:c'"),
                ("hookbot messages --url=at", "hookbot messages --url=at@x"),
                ("A=1 hookbot listen at", "hookbot listen at@x"),
            ):
                await complete(pane, typed, expected)


async def test_names_of_profiles_are_completed(opened: Open, tmp_path: Path) -> None:
    file = tmp_path / "home" / ".config" / "hookbot" / "profiles.json"
    file.parent.mkdir(parents=True)
    Profiles().using(Profile("hub.example.com:8443", "https://hub.example.com:8443", "t")).write(file)
    async with opened("http://localhost:1") as pane:
        for command in ("listen --profile ", "logout --profile ", "profiles --use="):
            await complete(pane, f"hookbot {command}hub", f"hookbot {command}hub.example.com:8443")


async def test_several_are_listed_with_their_descriptions(opened: Open, shell: str) -> None:
    described = () if shell == "bash" else ("Publish what has failed again, to where it failed.",)
    async with opened("http://localhost:1") as pane:
        await complete(pane, "hookbot retry", "retry-file", *described, tabs=2)


@pytest.mark.parametrize("words", [".*"])
async def test_a_shell_executes_nothing_of_a_topic_even_if_it_is_not_left_out(opened: Open, tmp_path: Path) -> None:
    commands = ("$(touch ../pwned)", "`touch ../pwned`", ";touch ../pwned;", "(touch ../pwned)", "${(e):-`touch x`}")
    async with open_test_hub() as hub:
        for number, command in enumerate(commands):
            await hub.publish(f"one{number}/{command}", b"")
            await hub.publish(f"many/{command}", b"")
        async with opened(hub.url) as pane:
            for number in range(len(commands)):
                await complete(pane, f"hookbot listen one{number}", f"one{number}/")
            await complete(pane, "hookbot listen many/", ";touch", tabs=2)

    assert not (tmp_path / "pwned").exists()
    assert not (tmp_path / "home" / "x").exists()


@pytest.mark.parametrize("name", SHELLS)
@pytest.mark.parametrize(
    ("line", "words", "begun"),
    [
        ("hookbot ", [], ""),
        ("hookbot lis", [], "lis"),
        ("hookbot listen ", ["listen"], ""),
        ("hookbot listen 'a b", ["listen"], "a b"),
        ("  A=1 B= hookbot listen a=b c", ["listen", "a=b"], "c"),
    ],
)
def test_the_line_up_to_the_cursor_tells_the_words(
    monkeypatch: pytest.MonkeyPatch, name: str, line: str, words: list[str], begun: str
) -> None:
    kind = get_completion_class(name)
    assert kind
    monkeypatch.setenv("COMP_WORDS", line)

    assert kind(cli, {}, "hookbot", "_HOOKBOT_COMPLETE").get_completion_args() == (words, begun)


@pytest.mark.parametrize(
    ("name", "told"),
    [("bash", "plain\tretry"), ("zsh", "plain\tretry:Publish .*"), ("fish", "plain\tretry\tPublish .*")],
)
def test_each_shell_is_told_words_in_its_own_way(monkeypatch: pytest.MonkeyPatch, name: str, told: str) -> None:
    kind = get_completion_class(name)
    assert kind
    monkeypatch.setenv("COMP_WORDS", "hookbot retr")

    first, *_ = kind(cli, {}, "hookbot", "_HOOKBOT_COMPLETE").complete().splitlines()
    assert re.fullmatch(told, first)
