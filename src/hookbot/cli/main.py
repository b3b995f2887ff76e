"""Entry point of the program: its commands and its exit codes."""

import io
import os
import re
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from ..errors import ConfigError, HookbotError, Refused, Unavailable, did_you_mean, sole_error, system_reason
from ..protocol.pasted import trim
from ..standard_files import OutputFailed, open_standard_files
from ..terminal import one_line
from ..version import __version__
from . import completion  # noqa: F401 - its shells
from .children import prepare_for_children

if TYPE_CHECKING:
    from ..client import Timing

FAILED = 1
USAGE = 2
REFUSED = 3
UNREACHABLE = 4
# The status that a shell reports for a program ended by SIGINT: 128 + 2.
INTERRUPTED = 130

# An OSError is that of a file which is named in it.
EXIT_CODES = {ConfigError: USAGE, OSError: USAGE, Refused: REFUSED, Unavailable: UNREACHABLE}

SECTIONS = {
    "Listen": {
        "listen": ("listen:listen", "Print the messages of a topic as they arrive."),
        "latest": ("listen:latest", "Print the newest message of a topic."),
        "forward": ("forward:forward", "Post each message to TARGET, unchanged."),
        "exec": ("exec:exec_", "Run COMMAND for each message, without a shell."),
        "record": ("record:record", "Append the messages of a topic to FILE as they arrive."),
        "doctor": ("doctor:doctor", "Check each step on the way to a subscription."),
    },
    "Develop": {
        "tunnel": ("tunnel:tunnel", "Receive webhooks from the internet at a server of this machine."),
        "trigger": ("trigger:trigger", "Post a sample event of a provider, signed, as its sender would."),
        "login": ("login:login", "Log in to a hub, so that commands need no URL."),
        "profiles": ("login:profiles", "List the hubs that you are logged in to."),
        "logout": ("login:logout", "Forget a profile and its token."),
    },
    "Publish": {
        "publish": ("publish:publish", "Publish FILE or standard input as a message."),
        "replay": ("replay:replay", "Deliver stored messages again."),
        "play": ("record:play", "Deliver the messages in FILE."),
        "retry-file": ("retry_file:retry_file", "Deliver the dead letters in FILE, and remove those that are taken."),
    },
    "Run a hub": {
        "serve": ("serve:serve", "Run a hub until SIGTERM or Ctrl-C."),
        "check-config": ("check_config:check_config", "Check a configuration file and report every mistake."),
        "make-tokens": ("tokens:make_tokens", "Print each URI with the token that opens it."),
        "narrow": ("tokens:narrow", "Make a weaker token from TOKEN."),
        "update-ranges": ("ranges:update_ranges", "Fetch the IP networks that senders publish as theirs."),
        "backup": ("backup:backup", "Copy the log of a hub to FILE, while the hub runs."),
        "restore": ("backup:restore", "Make the log of a hub from the backup FILE."),
        "log": ("log:log", "Copy the log of a hub to another place, and show how it is encrypted."),
        "hubs": ("hubs:hubs", "List the hubs that share a database."),
    },
    "Ask a hub": {
        "messages": ("messages:messages", "List the stored messages of a hub, newest first."),
        "message": ("messages:message", "Show the stored message ID of a hub, with its headers."),
        "retry": ("retry:retry", "Publish what has failed again, to where it failed."),
        "redeliver": ("redeliver:redeliver", "Publish stored messages of a hub again."),
        "delete": ("delete:delete", "Delete stored messages of a hub, with their copies."),
        "cursors": ("cursors:cursors", "List, move and delete the cursors and groups of a hub."),
        "who": ("who:who", "List the subscribers that are connected to a hub, or end one."),
        "sources": ("sources:sources", "List and test the sources of a hub."),
        "alerts": ("alerts:alerts", "List what is wrong with the sources and listeners that a hub watches."),
        "refused": ("refused:refused", "List the requests that a hub refused lately, newest first."),
        "budgets": ("budgets:budgets", "List how much a hub keeps of which topics, and how full that is."),
        "quotas": ("quotas:quotas", "List the quotas of a hub, and what is used of them."),
    },
    "Senders and routers": {
        "providers": ("signatures:providers", "List the providers whose signatures can be checked."),
        "sign": ("signatures:sign", "Sign a request as its provider would."),
        "verify": ("signatures:verify", "Check the signature of a request."),
        "routers": ("routers:routers", "List the installed routers, or those of a hub."),
        "new-router": ("routers:new_router", "Write a package for the router NAME into DIRECTORY."),
        "route": ("route:route", "Run a router as a process of its own, outside the hub."),
        "route-github": ("route:route_github", "Run the GitHub router outside the hub."),
    },
}
"""Commands by section of the help and name: the place in this package, as ``module:attribute``, and the first sentence.

Each is imported only when it is called or its options are completed: a listener needs no server code, and a list of all
of them no code of theirs.
"""

COMMANDS = {
    **{name: command for commands in SECTIONS.values() for name, command in commands.items()},
    "t": SECTIONS["Run a hub"]["make-tokens"],
}
"""All commands by name, also the one that is short for another."""


# Not what an error tells to write.
_TOKEN_IN_URL = re.compile(r"(\w://)(?!TOKEN@)[^/@\s]*@")


class Commands(click.Group):
    """Group of all commands, each imported when it is called; ``--help`` and completion list them without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands that ``--help`` lists: all but the one-letter alias."""
        return sorted(name for name in COMMANDS if len(name) > 1)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Command of that name, or None."""
        if name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[name][0].partition(":")
        command: click.Command = getattr(import_module(f"{__package__}.{module}"), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Command that the arguments begin with; the error for an unknown one names the closest."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = did_you_mean(args[0].lower().replace("_", "-"), self.list_commands(ctx))
            raise click.UsageError(f"{error.message} {close.capitalize()}".rstrip(), error.ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections, each command with its sentence, unabridged."""
        width = max(map(len, COMMANDS))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:{width}}", sentence) for name, (_, sentence) in commands.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands that begin with `incomplete`, each with its sentence, or else options."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        # Not those of `click.Group`, which imports each command.
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [*(CompletionItem(name, help=COMMANDS[name][1]) for name in names), *options]


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
    _trim_variables()
    context.obj = {"key": key, "github_secret": github_secret, "timing": context.obj}


def _trim_variables() -> None:
    """Remove from the variables of hookbot what cannot be seen at their edges, before the commands read them."""
    for name, value in os.environ.items():
        # Tokens are made with every character of the key.
        if name.startswith("HOOKBOT_") and name != "HOOKBOT_KEY" and trim(value) != value:
            os.environ[name] = trim(value)


def main(program: click.Command = cli, *, timing: "Timing | None" = None) -> None:
    """Run the program and exit: 0 done, 1 failed, 2 usage or configuration, 3 refused, 4 unreachable, 130 interrupted.

    ``doctor`` has further codes (`Check`). `timing` applies to the commands that take `SubscribeOptions`.
    """
    prepare_for_children()
    open_standard_files()
    try:
        # click's standalone mode would exit with 1 for an interruption.
        code = program(prog_name="hookbot", standalone_mode=False, obj=timing)
    except click.exceptions.Abort:
        sys.exit(INTERRUPTED)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        click.echo(_without_tokens(shown.getvalue()), err=True, nl=False)
        sys.exit(USAGE)
    except (HookbotError, OSError, OutputFailed, ExceptionGroup) as error:
        # Each nursery wraps an error in a group; several errors at once are a bug and end with a traceback.
        known = sole_error(error)
        # Whoever stops reading has seen enough: `hookbot listen URL | head`.
        if isinstance(known, OutputFailed) and known.reader_gone:
            sys.exit(0)
        sentence = _sentence(known)
        if sentence is None:
            raise
        # A hub must not forge a line; a configuration may have several mistakes, and no hub has written those.
        sentence = _without_tokens(sentence)
        lines = sentence.split("\n") if isinstance(known, ConfigError) else [sentence]
        click.echo("hookbot: " + "\n".join(map(one_line, lines)), err=True)
        sys.exit(exit_code(known))
    sys.exit(code if isinstance(code, int) else 0)


def exit_code(error: BaseException) -> int:
    """Exit code of a program that ends with an error."""
    return next((code for kind, code in EXIT_CODES.items() if isinstance(error, kind)), FAILED)


def _without_tokens(text: str) -> str:
    """An error without the tokens of URLs, which it has where one was given in place of a file, an option or a name."""
    return _TOKEN_IN_URL.sub(r"\1", text)


def _sentence(error: BaseException) -> str | None:
    """Sentence that tells a person about an error; None if nobody expected it."""
    if isinstance(error, OSError) and error.filename:
        return f"{os.fsdecode(error.filename)}: {system_reason(error)}"
    return str(error) if isinstance(error, HookbotError | OutputFailed) else None
