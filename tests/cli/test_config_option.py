"""The configuration file on the command line: which of file, environment and options counts."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.core import Option

from hookbot.cli.config_option import ConfiguredCommand
from hookbot.cli.configure import find_config
from hookbot.cli.main import cli
from hookbot.cli.serve import serve
from hookbot.errors import ConfigError
from hookbot.hub.config import Config

pytestmark = pytest.mark.usefixtures("directory")


def write(text: str, name: str = "hookbot.toml") -> str:
    Path(name).write_text(text)
    return name


def configure(*args: Any) -> Config:
    parent = click.Context(cli, obj={"key": "k", "github_secret": None})
    with serve.make_context("serve", list(args), parent=parent) as context:
        return find_config(context)


def test_an_option_can_stand_in_the_file_under_its_name_with_dashes_or_underscores() -> None:
    for name in ("keep-bytes", "keep_bytes"):
        assert configure("--config", write(f'{name} = "5MiB"')).retention.max_bytes == 5 << 20


def test_the_environment_overrides_the_file_and_options_override_both(environment: pytest.MonkeyPatch) -> None:
    args = ["--config", write('bind = ":1"\nkeep = "1h"\nrouter = ["github"]\nunsafe = ["a", "b"]')]
    assert configure(*args).bind == (":1",)
    assert configure(*args).routers == ("github",)
    environment.setenv("HOOKBOT_BIND", ":2")
    environment.setenv("HOOKBOT_UNSAFE", "c d")
    assert configure(*args).bind == (":2",)
    assert configure(*args).unsafe_prefixes == ("c", "d")
    assert configure(*args, "--bind", ":3", "--unsafe", "e").bind == (":3",)
    assert configure(*args, "--bind", ":3", "--unsafe", "e").unsafe_prefixes == ("e",)
    assert configure(*args).retention.max_age_s == 3600


def test_one_of_what_can_be_repeated_needs_no_list() -> None:
    assert configure("--config", write('bind = ":1"\nunsafe = "a"')).unsafe_prefixes == ("a",)
    assert configure("--config", write('bind = [":1", "unix:hub"]')).bind == (":1", "unix:hub")


def test_the_file_can_be_named_in_the_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HOOKBOT_CONFIG", write('bind = ":1"'))
    assert configure().bind == (":1",)


def value_for(option: Option, tmp_path: Path) -> str:
    """Any value of an option, in TOML."""
    if option.name == "at_rest_keys":
        (tmp_path / "at-rest").write_text("0" * 64)
        return f'"file:{tmp_path / "at-rest"}"'
    if option.multiple:
        return f'["{ {"cors_origins": "https://x", "bind": ":7"}.get(str(option.name), "x") }"]'
    if option.is_flag:
        return "true"
    if isinstance(option.type, click.Choice):
        return f'"{option.type.choices[-1]}"'
    if isinstance(option.type, click.types.IntParamType):
        return "7"
    if isinstance(option.type, click.Path):
        (tmp_path / "file").touch()
        return f'"{tmp_path}"' if option.type.dir_okay else f'"{tmp_path / "file"}"'
    values = {"duration": "7s", "size": "7B", "rate": "7/s", "proxies": "7", "URL": "http://x"}
    return f'"{values.get(option.type.name, "memory:")}"'


@pytest.mark.parametrize("name", serve.named_options())
def test_every_option_of_serve_can_stand_in_a_file(name: str, tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    environment.delenv("HOOKBOT_DATA_DIR")
    option = serve.named_options()[name]
    text = f"{name} = {value_for(option, tmp_path)}"
    with serve.make_context("serve", ["--config", write(text)]) as context:
        assert context.get_parameter_source(option.name) is click.core.ParameterSource.DEFAULT_MAP
        assert context.params[option.name] not in (None, (), option.default)


@pytest.mark.parametrize("name", serve.named_options())
def test_every_option_of_serve_has_a_variable(name: str) -> None:
    variable = serve.named_options()[name].envvar
    assert variable == f"HOOKBOT_{name.upper().replace('-', '_')}"


def test_no_two_options_share_a_variable() -> None:
    variables = [option.envvar for option in serve.named_options().values()]
    assert len(set(variables)) == len(variables)


def test_an_option_may_have_a_variable_of_its_own() -> None:
    command = ConfiguredCommand("c", params=[click.Option(["--a-b"]), click.Option(["--c"], envvar="OTHER")])
    assert {option.envvar for option in command.named_options().values()} == {"HOOKBOT_A_B", "OTHER"}


def test_a_hub_does_not_start_with_a_file_that_is_wrong_and_says_all_that_is() -> None:
    with pytest.raises(ConfigError) as caught:
        configure("--config", write('bnd = ":1"\nkeep = "long"\nkeep-count = "5"\nkeep-bytes = 5'))
    assert str(caught.value).splitlines() == [
        "hookbot.toml:1: there is no option 'bnd'; did you mean 'bind'?",
        "hookbot.toml:2: keep: not a duration such as 90s, 10m, 2h or 7d: 'long'",
        "hookbot.toml:3: keep-count must be an integer, not a string",
        "hookbot.toml:4: keep-bytes: a size has a unit, as in 512B, 25MiB or 1GiB, and '5' has none",
    ]


def test_without_a_file_there_are_the_defaults() -> None:
    assert configure().bind == ()


def test_a_file_that_is_not_there_is_a_mistake_of_the_command_line() -> None:
    with pytest.raises(click.BadParameter, match="nowhere"):
        configure("--config", "nowhere.toml")
