"""Options for signing: the signer that a command receives for some words."""

from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from hookbot.cli.sign_options import sign_options
from hookbot.delivery.signer import Signer
from hookbot.errors import ConfigError
from hookbot.signatures import load_provider


@click.command()
@sign_options
@click.pass_context
def command(context: click.Context, signer: Signer | None) -> None:
    context.meta["signer"] = signer


def signer_of(*words: str) -> Any:
    with command.make_context("command", list(words)) as context:
        command.invoke(context)
        return context.meta["signer"]


def test_without_the_options_nothing_is_signed() -> None:
    assert signer_of() is None


def test_a_signer_has_the_provider_its_options_and_the_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "s3cret")
    words = ("--sign", "hmac", "--secret", "env:SECRET", "-o", "header=X-Acme", "-o", "prefix=v1=")

    signer = signer_of(*words)

    assert signer.provider == load_provider("hmac", {"header": "X-Acme", "prefix": "v1="})
    assert signer.secret == "s3cret"
    assert "s3cret" not in repr(signer)


def test_a_secret_that_is_not_there_is_missed_at_once() -> None:
    with pytest.raises(ConfigError, match="the environment variable NOWHERE is not set"):
        signer_of("--sign", "github", "--secret", "env:NOWHERE")


@pytest.mark.parametrize(
    "words", [("--sign", "github"), ("--secret", "s3cret"), ("--option", "a=b"), ("--secret", "s3cret", "-o", "a=b")]
)
def test_the_options_go_together(words: tuple[str, ...]) -> None:
    result = CliRunner().invoke(command, words)

    assert result.exit_code == 2
    assert "--sign and --secret go together" in result.output
    assert "s3cret" not in result.output


def test_a_shell_completes_the_name_of_a_provider() -> None:
    completion = ShellComplete(command, {}, "command", "_COMPLETE")

    assert [item.value for item in completion.get_completions(["--sign"], "stri")] == ["stripe"]
