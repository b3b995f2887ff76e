"""The packages in ``plugins/``, and a new one: built as wheels, installed into an environment of their own, and run."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trio

from hookbot import client
from hookbot.access.tokens import make_token
from hookbot.protocol.message import Headers, Message
from hookbot.testing import signed_delivery
from support import GUARD_S, KEY

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PLUGINS = sorted((ROOT / "plugins").iterdir())
SECRET = "whsec_s3cret"
CONFIG = """
router = ["github", "gitlab", "stripe", "jira", "hello", "mattermost", "broken.py"]

[[sources]]
topic = "/unsafe/gitlab.com/"
provider = "gitlab"
secrets = ["env:GITLAB_SECRET"]

[[sources]]
topic = "/unsafe/stripe/"
provider = "stripe"
secrets = ["env:STRIPE_SECRET"]

[routers.jira]
ignore = "TEST"

[routers.mattermost]
url = "env:MATTERMOST_URL"
"""
ENVIRONMENT = {
    "GITLAB_SECRET": "s3cret",
    "STRIPE_SECRET": SECRET,
    "HOOKBOT_GITHUB_SECRET": "s3cret",
    "MATTERMOST_URL": "http://127.0.0.1:9/",
}


def run(*command: str | Path) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def new_plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("new") / "hookbot-hello"
    run(sys.executable, "-m", "hookbot", "new-router", "hello", directory)
    return directory


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, new_plugin: Path) -> Path:
    """An environment with all plugins, as wheels, and with hookbot and what it needs from this one."""
    wheels, environment = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("venv")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", wheels, *PLUGINS, new_plugin)
    venv.create(environment)
    python = environment / "bin" / "python"
    run(*pip, "--python", python, "install", "-q", "--no-deps", "--no-index", *wheels.glob("*.whl"))
    here = sysconfig.get_path("purelib")
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (site / "hookbot.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    return python


@contextmanager
def hub(python: Path, directory: Path) -> Iterator[str]:
    """A hub with all of them; its URL."""
    (directory / "hookbot.toml").write_text(CONFIG)
    (directory / "broken.py").write_text("raise RuntimeError('at import')")
    command: list[str | Path] = [python, "-m", "hookbot", "--key", KEY, "serve", "--config", directory / "hookbot.toml"]
    command += ["--bind", "127.0.0.1:0", "--store", "memory:", "--data-dir", directory]
    with (
        (directory / "log").open("wb") as log,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=log, env=ENVIRONMENT, cwd=directory, text=True
        ) as process,
    ):
        assert process.stdout
        try:
            line = process.stdout.readline()
            assert "listens on" in line, (directory / "log").read_text()
            yield line.split()[-1]
        finally:
            process.kill()


def url_for(hub: str, path: str) -> str:
    return f"{hub.replace('//', f'//{make_token(KEY, path)}@')}{path}"


def test_the_tests_of_each_pass_where_they_are_installed(python: Path, new_plugin: Path) -> None:
    run(python, "-m", "pytest", "-q", "-c", os.devnull, "-o", "trio_mode=true", *PLUGINS, new_plugin)


def test_a_new_router_and_its_tests_pass_a_strict_type_checker(new_plugin: Path) -> None:
    run(sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", os.devnull, new_plugin)


def test_the_installed_routers_are_listed_with_their_topics_and_packages(python: Path) -> None:
    listed = run(python, "-m", "hookbot", "routers")
    for name, topics, package in [
        ("gitlab", "/unsafe/gitlab.com/, gitlab/", "hookbot-gitlab 1.0.0"),
        ("hello", "hello/", "hookbot-hello 0.1.0"),
        ("jira", "jira/", "hookbot-example 1.0.0"),
        ("filter", "as configured", "hookbot "),
    ]:
        [line] = [line for line in listed.splitlines() if line.startswith(name)]
        assert topics in line
        assert package in line


def deliveries() -> list[tuple[str, tuple[bytes, Headers], str]]:
    """Paths, what is posted there, signed now, and the topics on which it arrives."""
    return [
        ("/unsafe/pub/gitlab.com/acme", signed_delivery("gitlab", "s3cret"), "gitlab.com/project/acme/web/app"),
        ("/unsafe/pub/stripe/", signed_delivery("stripe", SECRET), "stripe-account/acct_1032D82eZvKYlo2C/invoice/paid"),
        (
            "/unsafe/pub/github.com/org/acme",
            signed_delivery("github", "s3cret"),
            "github.com/repo/acme/app/branch/main",
        ),
        ("/pub/jira/cloud", (b'{"issue": {"fields": {"project": {"key": "OPS"}}}}', ()), "jira-project/OPS"),
        ("/pub/hello/try", (b'{"kind": "hello"}', ()), "hello-kind/hello"),
    ]


async def test_all_of_them_run_in_one_hub_that_knows_nothing_of_them(python: Path, tmp_path: Path) -> None:
    with trio.fail_after(3 * GUARD_S), hub(python, tmp_path) as url:
        async with httpx.AsyncClient(timeout=GUARD_S) as http:
            for path, (body, headers), topic in deliveries():
                answer = await http.post(url_for(url, path), content=body, headers=headers)
                assert answer.status_code == 200, answer.text
                async with client.listen(url_for(url, f"/sub/{topic}"), since="all") as messages:
                    message = await anext(messages)
                assert isinstance(message, Message)
                assert message.topic == topic

            forged = await http.post(f"{url}/unsafe/pub/gitlab.com/acme", content=b"{}")
            states = await http.get(url_for(url, "/hookbot/v1/routers"))
        shown = run(python, "-m", "hookbot", "routers", "--url", url_for(url, "/"))

    assert forged.status_code == 401
    routers = {state["name"]: state for state in states.json()["routers"]}
    assert {name for name, state in routers.items() if state["state"] != "running"} == {"broken"}
    assert routers["broken"]["error"] == "RuntimeError: at import"
    assert routers["gitlab"]["published"] == 2
    assert json.dumps(routers).count("s3cret") == 0
    assert "NAME" in shown.splitlines()[0]
    assert any(line.split()[:2] == ["jira", "running"] for line in shown.splitlines())
