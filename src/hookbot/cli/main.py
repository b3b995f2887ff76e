"""Entry point of the program: its commands and its exit codes."""

import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click

from ..errors import ConfigError, HookbotError, Refused, Unavailable, sole_error
from ..version import __version__

if TYPE_CHECKING:
    from ..client import Timing

FAILED = 1
USAGE = 2
REFUSED = 3
UNREACHABLE = 4
# The status that a shell reports for a program ended by SIGINT: 128 + 2.
INTERRUPTED = 130

EXIT_CODES = {ConfigError: USAGE, Refused: REFUSED, Unavailable: UNREACHABLE}

COMMANDS = {
    "serve": "hookbot.cli.serve:serve",
    "listen": "hookbot.cli.listen:listen",
    "latest": "hookbot.cli.listen:latest",
    "publish": "hookbot.cli.publish:publish",
    "forward": "hookbot.cli.forward:forward",
    "exec": "hookbot.cli.exec:exec_",
    "cursors": "hookbot.cli.cursors:cursors",
    "doctor": "hookbot.cli.doctor:doctor",
    "replay": "hookbot.cli.replay:replay",
    "make-tokens": "hookbot.cli.tokens:make_tokens",
    "narrow": "hookbot.cli.tokens:narrow",
    "check-config": "hookbot.cli.check_config:check_config",
    "update-ranges": "hookbot.cli.ranges:update_ranges",
    "providers": "hookbot.cli.signatures:providers",
    "verify": "hookbot.cli.signatures:verify",
    "sign": "hookbot.cli.signatures:sign",
    "routers": "hookbot.cli.routers:routers",
    "new-router": "hookbot.cli.routers:new_router",
    "route": "hookbot.cli.route:route",
    "route-github": "hookbot.cli.route:route_github",
    "t": "hookbot.cli.tokens:make_tokens",
}
"""Commands by name, as ``module:attribute``. Each is imported only when needed: a listener needs no server code."""


class Commands(click.Group):
    """Group of all commands, each imported when it is called or listed by ``--help``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands that ``--help`` lists: all but the one-letter alias."""
        return sorted(name for name in COMMANDS if len(name) > 1)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Command of that name, or None."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--key", envvar="HOOKBOT_KEY", help="Key that tokens are made from. HOOKBOT_KEY_FILE hides it from `ps`.")
@click.option(
    "--github-secret",
    envvar="HOOKBOT_GITHUB_SECRET",
    metavar="SECRET",
    help="Secret of GitHub's webhook form. HOOKBOT_GITHUB_SECRET_FILE hides it from `ps`.",
)
@click.version_option(__version__, prog_name="hookbot")
@click.pass_context
def cli(context: click.Context, key: str | None, github_secret: str | None) -> None:
    """A webhook hub: senders POST to it, subscribers receive over outbound connections."""
    context.obj = {"key": key, "github_secret": github_secret, "timing": context.obj}


def main(program: click.Command = cli, *, timing: "Timing | None" = None) -> None:
    """Run the program and exit: 0 done, 1 failed, 2 usage or configuration, 3 refused, 4 unreachable, 130 interrupted.

    ``doctor`` has further codes (`Check`). `timing` applies to the commands that take `SubscribeOptions`.
    """
    try:
        # click's standalone mode would exit with 1 for an interruption.
        code = program(prog_name="hookbot", standalone_mode=False, obj=timing)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except (HookbotError, ExceptionGroup) as error:
        # Each nursery wraps an error in a group; several errors at once are a bug and end with a traceback.
        known = sole_error(error)
        if not isinstance(known, HookbotError):
            raise
        click.echo(f"hookbot: {known}", err=True)
        sys.exit(next((code for kind, code in EXIT_CODES.items() if isinstance(known, kind)), FAILED))
    sys.exit(code if isinstance(code, int) else 0)
