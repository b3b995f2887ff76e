"""The configuration file on the command line: ``--config``, and ``hookbot check-config``."""

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from .cli_types import EXISTING_FILE
from .config_file import ConfigFile
from .config_sections import read_routers, read_sources
from .errors import ConfigError

FILE = "hookbot.config_file"
ARGUMENTS = "hookbot.arguments"


class ConfiguredCommand(click.Command):
    """A command whose options can also stand in a file; the environment and the command line override it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Called by click; remembers what it was called with, to be read again later."""
        ctx.meta[ARGUMENTS] = tuple(args)
        ctx.meta.setdefault(FILE, ConfigFile())
        return super().parse_args(ctx, args)


def read_file(ctx: click.Context, param: click.Parameter, path: Path | None) -> Path | None:
    """Called by click for ``--config``, before it looks at other options."""
    if path is not None:
        names = {
            opt.lstrip("-").replace("-", "_"): option.name
            for option in ctx.command.params
            for opt in option.opts
            if opt.startswith("--")
        }
        file = ctx.meta[FILE] = ConfigFile.read(path, names.keys())
        ctx.default_map = {str(names[name]): value for name, value in file.options.items()}
    return path


config_file = click.option(
    "--config",
    type=EXISTING_FILE,
    envvar="HOOKBOT_CONFIG",
    is_eager=True,
    expose_value=False,
    callback=read_file,
    metavar="FILE",
    help="Read options from this TOML file, and sources and routers.",
)


@click.command("check-config")
@click.argument("path", type=EXISTING_FILE, metavar="FILE")
def check_config(path: Path) -> None:
    """Say what is wrong with a configuration file, with line and reason; exit with 2 if anything is.

    \b
    Example:
      hookbot check-config hookbot.toml
    """
    problems = list(_problems(path))
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(2)
    click.echo(f"{path}: nothing is wrong")


def _problems(path: Path) -> Iterator[str]:
    from .cli_serve import serve  # it uses this module

    try:
        with serve.make_context("serve", ["--config", str(path)]) as context:
            file: ConfigFile = context.meta[FILE]
            routers = context.params["routers"]
    except click.BadParameter as error:
        yield f"{path}: {error.format_message()}"
        return
    except ConfigError as error:
        yield str(error)
        return
    for read in (*read_sources(file), *read_routers(file, routers)):
        if isinstance(read, ConfigError):
            yield str(read)
