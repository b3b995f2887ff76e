"""``hookbot backup`` and ``hookbot restore``: a copy of what a hub has stored, and the way back."""

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ..errors import ConfigError
from ..hub.config import RANGES_FILE, parse_store
from ..hub.config_file import ConfigFile
from ..hub.secret_store import GITHUB_SECRET_FILE, KEY_FILE, OLD_GITHUB_SECRETS_FILE, OLD_KEYS_FILE
from ..log.postgres_address import PostgresAddress
from .display import size_of
from .log_lines import log_to_stderr
from .parameters import DATA_DIRECTORY, EXISTING_FILE, STORE, data_dir

if TYPE_CHECKING:
    from ..log.sqlite_backup import Note

SECRET_FILES = (KEY_FILE, OLD_KEYS_FILE, GITHUB_SECRET_FILE, OLD_GITHUB_SECRETS_FILE, RANGES_FILE)

_FILE = click.argument("file", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False))


@click.command()
@_FILE
@click.option("--with-secrets", is_flag=True, help="Also the key, GitHub's secret, the old ones, and fetched ranges.")
@click.option("--store", type=STORE, envvar="HOOKBOT_STORE", metavar="STORE", help="Store of the hub.")
@click.option(
    "--config",
    type=EXISTING_FILE,
    envvar="HOOKBOT_CONFIG",
    metavar="FILE",
    help="Read the store and the data directory from this TOML file.",
)
@data_dir
@click.pass_context
def backup(
    context: click.Context, /, file: Path, with_secrets: bool, store: Any, config: Path | None, data_dir: Path
) -> None:
    """Copy the log of a hub to FILE, while the hub runs.

    FILE is replaced when the copy is whole and has been checked; only its owner can read it. It has all messages,
    cursors, groups and idempotency keys of one moment. The hub is not held up.

    \b
    Examples:
      hookbot backup /var/backups/hookbot.sqlite3
      hookbot backup --with-secrets --data-dir /var/lib/hookbot /root/hookbot.sqlite3
    """
    from ..log.sqlite_backup import back_up

    log_to_stderr(quiet=True)
    written = ConfigFile.read(config).options if config else {}
    options = {name.replace("_", "-"): value for name, value in written.items()}
    _check_store(store or parse_store(str(options.get("store", "sqlite:"))))
    if context.get_parameter_source("data_dir") is ParameterSource.DEFAULT and "data-dir" in options:
        data_dir = DATA_DIRECTORY.convert(options["data-dir"], None, context)
    files = _read_files(data_dir) if with_secrets else {}
    # The unfinished file is deleted, as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _progress(shown=sys.stderr.isatty()) as note:
        back_up(data_dir, file, files, note)
    click.echo(f"backed up {size_of(file.stat().st_size)}" + (f", with {', '.join(files)}" if files else ""))


@click.command()
@_FILE
@data_dir
def restore(file: Path, data_dir: Path) -> None:
    """Make the log of a hub from the backup FILE.

    The data directory must not have a log, and no hub run there. The new log has a new name, so that no id is given
    twice. Listeners that have heard more than FILE has are told of a gap; all others, and cursors and groups, go on
    where they were in FILE.

    \b
    Example:
      hookbot restore /var/backups/hookbot.sqlite3 --data-dir /var/lib/hookbot
    """
    from ..broker.consumer_state import renewed
    from ..log.sqlite_restore import restore as restore_log

    log_to_stderr(quiet=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    restored = restore_log(file, data_dir, renewed, SECRET_FILES)
    click.echo(f"restored: messages {restored.messages}, cursors {restored.cursors}")
    click.echo(f"the log {restored.ancestor} goes on as {restored.epoch}")
    if restored.files:
        click.echo(f"files: {', '.join(sorted(restored.files))}")


def _check_store(store: Any) -> None:
    """Raise `ConfigError` unless it is a log on disk."""
    if isinstance(store, PostgresAddress):
        raise ConfigError(
            "a log in PostgreSQL is backed up by pg_dump, or by continuous archiving: a copy that is consistent while "
            "several hubs write is up to the server"
        )
    if store == "memory:":
        raise ConfigError("a log in memory (--store memory:) ends with its hub: there is nothing to back up")


def _read_files(directory: Path) -> Mapping[str, bytes]:
    return {name: (directory / name).read_bytes() for name in SECRET_FILES if (directory / name).exists()}


@contextmanager
def _progress(*, shown: bool) -> "Iterator[Note]":
    """Show a progress bar if `shown`, and yield the function that moves it."""
    if not shown:
        yield lambda copied, count: None
        return
    with click.progressbar(length=1, label="Copying", file=sys.stderr, show_pos=True) as bar:

        def note(copied: int, count: int) -> None:
            bar.length = max(count, 1)
            bar.update(copied - bar.pos)

        yield note
