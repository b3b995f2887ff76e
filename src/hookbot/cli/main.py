"""The command line: parse, call one function, print."""

import sys
from importlib import import_module

import click

from ..errors import ConfigError, HookbotError, Refused, Unavailable, sole_error
from ..version import __version__

USAGE = 2
REFUSED = 3
UNREACHABLE = 4
FAILED = 1
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
    "route": "hookbot.cli.routers:route",
    "route-github": "hookbot.cli.routers:route_github",
    "t": "hookbot.cli.tokens:make_tokens",
}
"""Where each command lives. Only the one that is called is imported: whoever listens needs no server."""


class Commands(click.Group):
    """The commands, each imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names that ``--help`` shows."""
        return sorted(name for name in COMMANDS if len(name) > 1)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of that name."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--key", envvar="HOOKBOT_KEY", help="The key that tokens are made of. Better given as HOOKBOT_KEY_FILE.")
@click.option("--github-secret", envvar="HOOKBOT_GITHUB_SECRET", help="The secret in GitHub's webhook form.")
@click.version_option(__version__, prog_name="hookbot")
@click.pass_context
def cli(context: click.Context, key: str | None, github_secret: str | None) -> None:
    """A webhook hub: senders POST to it, listeners hear everything over outbound connections."""
    context.obj = {"key": key, "github_secret": github_secret}


def main() -> None:
    """The program. Exits with 0 done, 1 failed, 2 usage or configuration, 3 refused, 4 unreachable, 130 interrupted."""
    try:
        code = cli(prog_name="hookbot", standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except (HookbotError, ExceptionGroup) as error:
        known = sole_error(error)
        if not isinstance(known, HookbotError):
            raise
        click.echo(f"hookbot: {known}", err=True)
        sys.exit(next((code for kind, code in EXIT_CODES.items() if isinstance(known, kind)), FAILED))
    sys.exit(code if isinstance(code, int) else 0)
