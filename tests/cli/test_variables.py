"""Variables of the environment: what nothing reads is told, with what is probably meant."""

from pathlib import Path

import click
import pytest

from hookbot.cli.main import COMMANDS, cli
from hookbot.cli.serve import serve
from hookbot.cli.variables import OTHERS, overriding_variables, unread_variables
from support.commands import starting

VARIABLES = serve.variables().values()


def unread(*names: str, file: str = "") -> list[str]:
    return list(unread_variables(dict.fromkeys(names, "x"), VARIABLES, file))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("HOOKBOT_KEPP", "HOOKBOT_KEEP"),
        ("HOOKBOT_ROUTERS", "HOOKBOT_ROUTER"),
        ("HOOKBOT_MAXBODY", "HOOKBOT_MAX_BODY"),
        ("HOOKBOT_GITHUB_SECRETS", "HOOKBOT_GITHUB_SECRET"),
        ("HOOKBOT_KEYFILE", "HOOKBOT_KEY_FILE"),
        ("HOOKBOT_key", "HOOKBOT_KEY"),
    ],
)
def test_a_variable_that_nothing_reads_is_told_with_the_one_that_is_meant(name: str, meant: str) -> None:
    assert unread("PATH", name) == [f"nothing reads the variable {name}; did you mean {meant!r}?"]


@pytest.mark.parametrize("name", ["HOOKBOT_XYZZY_QUUX_42", "HOOKBOT_PORT", "HOOKBOT_HOST", "HOOKBOT_DEBUG"])
def test_a_variable_that_is_like_no_other_is_told_without_its_value(name: str) -> None:
    assert unread(name) == [f"nothing reads the variable {name}"]


def test_every_variable_of_every_command_is_read() -> None:
    context = click.Context(cli)
    commands = [cli, *filter(None, (cli.get_command(context, name) for name in COMMANDS))]
    variables = {str(param.envvar) for command in commands for param in command.params if param.envvar}
    assert unread(*variables, *OTHERS) == []


def test_what_the_file_refers_to_and_what_kubernetes_sets_is_not_told() -> None:
    assert unread("HOOKBOT_STRIPE", file='secrets = ["env:HOOKBOT_STRIPE"]') == []
    assert unread("HOOKBOT_PORT_8080_TCP_ADDR", "HOOKBOT_SERVICE_HOST", "HOOKBOT_SERVICE_PORT_X") == []
    assert list(unread_variables({"HOOKBOT_PORT": "tcp://10.0.0.1:8080"}, VARIABLES, "")) == []


def test_a_port_that_kubernetes_has_not_set_is_told() -> None:
    [sentence] = unread_variables({"HOOKBOT_PORT": "8080"}, VARIABLES, "")
    assert sentence.startswith("nothing reads the variable HOOKBOT_PORT")


def test_a_variable_overrides_an_option_of_the_file_unless_it_is_empty() -> None:
    given = {"keep": "HOOKBOT_KEEP", "bind": "HOOKBOT_BIND"}
    assert list(overriding_variables({"HOOKBOT_KEEP": "1d", "HOOKBOT_BIND": ""}, given)) == [
        "HOOKBOT_KEEP is set here: it would override keep of the file"
    ]


async def test_a_hub_logs_the_variables_that_nothing_reads(tmp_path: Path) -> None:
    environment = {"HOOKBOT_KEPP": "secret", "HOOKBOT_DATA_DIR": str(tmp_path)}
    async with starting() as start:
        hub = await start("serve", "--bind", "127.0.0.1:0", "--store", "memory:", env=environment)
        line = await hub.line("HOOKBOT_KEPP")
    assert line.endswith("nothing reads the variable HOOKBOT_KEPP; did you mean 'HOOKBOT_KEEP'?")
