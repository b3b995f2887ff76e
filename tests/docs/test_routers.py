"""docs/write-a-router.md and docs/routers.md: every step of them works, and they leave nothing out."""

import dataclasses
import inspect
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import hookbot
import hookbot.testing
from hookbot import Secret
from hookbot.cli.route import route as route_command
from hookbot.cli.route import route_github
from hookbot.protocol.expressions import FIELDS
from hookbot.protocol.message import Message
from hookbot.routers.attempts import RouterLimits, RouterStats
from hookbot.routers.filter import FilterRouter
from hookbot.routers.github import GitHubRouter
from hookbot.routers.loading import make
from hookbot.routers.runner import RouterSpec
from hookbot.testing import route, signed_delivery
from support.pages import blocks, lines_printed, lines_shown, page
from support.terminal import Terminal

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
WRITE_A_ROUTER = page("docs/write-a-router.md")
PAGE = page("docs/routers.md") + WRITE_A_ROUTER
BLOCKS = dict(re.findall(r"```(?:python|toml)\n# (\S+)\n(.*?)```", PAGE, re.DOTALL))
BODY = b'{"issue": {"fields": {"project": {"key": "OPS"}}}}'


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with every file of the page, as a reader would type it."""
    for name, text in BLOCKS.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JIRA_TOKEN", "s3cret")
    return tmp_path


def secret_of(text: str) -> Secret:
    return Secret({"env:JIRA_TOKEN": "s3cret"}[text])


def test_the_page_has_all_steps() -> None:
    assert set(BLOCKS) == {
        "hookbot.toml",
        "jira.py",
        "test_jira.py",
        "test_jira_in_a_hub.py",
        "jira_with_options.py",
        "jira.toml",
        "thumbnails.py",
        "careful.py",
        "owned.py",
        "pyproject.toml",
        "hookbot_example.py",
    }


COMMENT = b'{"webhookEvent": "comment_created", "comment": {"body": "hello"}, "issue": null}'


@pytest.mark.parametrize("file", ["jira.py", "jira_with_options.py", "hookbot_example.py"])
async def test_the_few_lines_are_a_router(directory: Path, file: str) -> None:
    router = make(f"./{file}", {}, str)
    assert len(BLOCKS["jira.py"].splitlines()) <= 12
    assert await route(router, "jira/cloud", BODY) == [("jira-project/OPS", BODY)]
    assert await route(router, "jira/cloud", COMMENT) == [("jira-event/comment_created", COMMENT)]
    with pytest.raises(ValueError, match="neither a project nor an event"):
        await route(router, "jira/cloud", b"[]")


def test_the_first_router_runs_and_is_tested_as_the_page_shows(terminal: Terminal) -> None:
    terminal.program("pip", "")
    begin, serve, listen, test, _ = blocks(WRITE_A_ROUTER)
    terminal.paste(begin)
    for name in ("jira.py", "test_jira.py"):
        (terminal.home / "my-router" / name).write_text(BLOCKS[name])

    output = terminal.paste(serve + listen)

    assert lines_shown(WRITE_A_ROUTER) - lines_printed(output) == set(), output
    assert "1 passed" in terminal.paste(test)


def test_the_tests_pass(directory: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("file", ["hookbot.toml", "jira.toml"])
def test_the_configuration_makes_routers(directory: Path, file: str) -> None:
    config = tomllib.loads(BLOCKS[file])
    for name in config["router"]:
        section = config["routers"].get(name, {"secrets": [Secret("s3cret")]})
        spec = RouterSpec.parse(name, section)
        made = make(spec.kind, spec.options, secret_of)
        assert made.topics
    assert file != "jira.toml" or (vars(made)["api_token"], spec.limits) == ("s3cret", RouterLimits(60, 5000))


async def test_the_filters_filter(directory: Path) -> None:
    sections = tomllib.loads(BLOCKS["hookbot.toml"])["routers"]
    deploys, issues = (
        make("filter", {k: v for k, v in sections[name].items() if k != "router"}, str)
        for name in ("deploys", "big-issues")
    )
    body, headers = signed_delivery("github", "s3cret")
    issue = b'{"action": "opened", "issue": {"title": "%s"}, "repository": {"name": "app"}}' % (b"x" * 81)

    [(topic, deploy)] = await route(deploys, "github.com/repo/acme/app", body, headers)

    assert topic == "deploy/acme/app"
    assert deploy == b'{"repo":"acme/app","sha":"%s"}' % json.loads(body)["after"].encode()
    assert await route(issues, "github.com/repo/acme/app", issue) == [("wordy/app", issue)]
    assert await route(issues, "github.com/repo/acme/app", issue.replace(b"opened", b"closed")) == []


@pytest.mark.parametrize("name", ["deploys", "big-issues"])
@pytest.mark.parametrize("event", ["push", "pull_request", "discussion", "ping"])
async def test_the_filters_know_every_delivery_that_they_read(directory: Path, name: str, event: str) -> None:
    section = tomllib.loads(BLOCKS["hookbot.toml"])["routers"][name]
    other = b'{"action": "opened", "pull_request": {"title": "x"}, "repository": {"name": "app"}}'

    made = make("filter", {key: value for key, value in section.items() if key != "router"}, str)

    assert await route(made, "github.com/repo/acme/app", other, {"X-GitHub-Event": event}) == []


async def test_the_other_routers_do_what_the_page_says(directory: Path) -> None:
    assert await route(make("jira_with_options.py", {"ignore": ["OPS"]}, str), "jira/cloud", BODY) == []
    assert await route(make("thumbnails.py", {}, str), "images/a", b"x" * 2000) == [
        ("thumbnails/images/a", b"x" * 1000)
    ]
    careful = make("careful.py", {}, str)
    headers = {"X-Gitlab-Event": "Push Hook"}
    assert await route(careful, "/unsafe/gitlab.com/x", b"", headers) == []
    owned = make("owned.py", {}, str)
    project = b'{"project": {"path_with_namespace": "x/app"}}'
    assert await route(owned, "/unsafe/gitlab.com/x", project) == []
    assert await route(owned, "/unsafe/gitlab.com/x", project, verified="gitlab") == [("builds/x/app", project)]
    assert await route(careful, "/unsafe/gitlab.com/x", b"", headers, verified="gitlab") == [
        ("gitlab-event/Push Hook", b"")
    ]


def test_the_package_is_the_one_in_plugins() -> None:
    example = ROOT / "plugins" / "hookbot-example"
    assert BLOCKS["hookbot_example.py"] == (example / "hookbot_example.py").read_text()
    assert BLOCKS["pyproject.toml"] == (example / "pyproject.toml").read_text()


def options_of(router: type[Any]) -> list[str]:
    return list(inspect.signature(router).parameters)


MENTIONED = [
    *(f"`{name}`" for router in (GitHubRouter, FilterRouter) for name in options_of(router)),
    *(f"`{field.name}`" for field in dataclasses.fields(RouterStats)),
    *(f"`{field.name}`" for field in dataclasses.fields(RouterLimits)),
    *(f"`{name}`" for name in FIELDS),
    *(
        option.opts[0]
        for command in (route_command, route_github)
        for option in command.params
        if option.opts[0][0] == "-"
    ),
    *(name for name in hookbot.__all__ if name not in ("Gap", "listen")),
    *hookbot.testing.__all__,
    *(
        name
        for name in dir(Message)
        if not name.startswith("_") and name not in ("position", "wrapped", "time_us", "redelivered", "size")
    ),
    "Hookbot-Failed-Router",
    "Hookbot-Failed-Id",
    "Hookbot-Failed-Topic",
    "Hookbot-Failed-Error",
]


@pytest.mark.parametrize("name", sorted(set(MENTIONED)))
def test_everything_a_user_can_say_or_see_is_on_the_page(name: str) -> None:
    assert name in PAGE
