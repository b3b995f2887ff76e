"""``hookbot check-config``: every mistake in a configuration file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import ConfigError, describe
from ..hub.config import Config
from ..hub.config_file import ConfigFile
from ..hub.secret_store import StoredSecret, resolve_secret
from ..hub.shutdown_limit import LEFT_BEHIND_S, ShutdownLimit
from ..log.postgres_address import PostgresAddress
from ..protocol.pasted import is_marked
from ..protocol.paths import topic_meant
from .config_option import places_of
from .configure import make_config
from .credentials import (
    find_github_secret,
    find_key,
    find_old_github_secrets,
    find_old_keys,
    known_github_secret,
    known_key,
)
from .main import USAGE
from .parameters import EXISTING_FILE, Given
from .serve import serve
from .variables import overriding_variables, unread_variables

if TYPE_CHECKING:
    from ..access.sources import Source
    from ..routers.runner import RouterSpec

_ANY_SECRET = StoredSecret("0" * 64)
"""Placeholder for the key and GitHub's secret, which a check does not create."""
_NONE_GIVEN: Given = {"key": None, "github_secret": None}


@click.command("check-config")
@click.argument("path", type=EXISTING_FILE, metavar="FILE")
def check_config(path: Path) -> None:
    """Check a configuration file and report every mistake.

    Each mistake is printed with its line and its reason; the exit code is 2 if there is any. If there is none, it is
    printed which owners the sources are bound to, and which variables would override the file.

    \b
    Example:
      hookbot check-config hookbot.toml
    """
    limit = ShutdownLimit()
    findings = list(_check(path))
    problems = [str(one) for one in findings if isinstance(one, ConfigError)]
    limit.start_if_needed(LEFT_BEHIND_S, code=USAGE if problems else 0)
    for problem in dict.fromkeys(problems):
        click.echo(problem, err=True)
    if problems:
        sys.exit(USAGE)
    for notice in findings:
        click.echo(f"{path}: {notice}")
    if is_marked(path):
        click.echo(f"{path}: the byte order mark at its beginning is ignored; not every program does that")
    click.echo(f"{path}: no mistakes found")


def _check(path: Path) -> Iterator[ConfigError | str]:
    """Every mistake in a file; as text, the owners of its sources, and variables that override its options."""
    from ..hub.ineffective import ineffective

    try:
        file = ConfigFile.read(path)
        read = list(serve.read_options(file))
        yield from (one for one in read if isinstance(one, ConfigError))
        options = dict(one for one in read if not isinstance(one, ConfigError))
        with serve.context_of(path, file, options) as context:
            places = places_of(context)
            config = make_config(context.params, file, key=_ANY_SECRET, github_secrets=(_ANY_SECRET,), places=places)
    except click.ClickException as error:
        # Only valid options of the file reach click, so the mistake is in a variable.
        yield ConfigError(f"in the environment: {error.format_message()}")
    except ConfigError as error:
        yield error
    else:
        yield from _check_store(config)
        yield from _check_secrets(config)
        yield from _check_sections(config)
        # Beside an option that is wrong, what goes with it would seem to have no effect.
        if len(options) == len(read):
            yield from ineffective(config)
        named = serve.named_options().items()
        given = {name: str(option.envvar) for name, option in named if option.name in options}
        yield from overriding_variables(os.environ, given)
        yield from unread_variables(os.environ, serve.variables().values(), file.text)


def _check_store(config: Config) -> Iterator[ConfigError]:
    """Mistakes in the address of a shared store, as far as they can be seen without a connection to it."""
    if isinstance(config.store, PostgresAddress):
        try:
            _ = config.store.hosts
        except ConfigError as error:
            yield config.error("store", str(error))


def _check_secrets(config: Config) -> Iterator[ConfigError]:
    """Mistakes in the secrets of the hub that the environment names, or the data directory has."""
    from ..hub.sections import needs_github_secret

    # A missing one is a mistake only where no hub may make its own.
    key = partial(find_key, make=False, shared=True) if config.shared else known_key
    yield from _mistake(partial(key, _NONE_GIVEN, config.data_dir))
    yield from _mistake(partial(find_old_keys, config.data_dir))
    if needs_github_secret(config.routers, config.file.routers):
        yield from _mistake(partial(_check_github_secrets, config.data_dir, config.shared))


def _check_github_secrets(data_dir: Path, shared: bool) -> None:
    from ..hub.sections import GITHUB
    from ..signatures import load_provider

    if shared:
        find_github_secret(_NONE_GIVEN, data_dir, make=False, shared=True)
    secret = known_github_secret(_NONE_GIVEN, data_dir)
    for each in (*filter(None, [secret]), *find_old_github_secrets(data_dir)):
        load_provider(GITHUB).check(each)


def _check_sections(config: Config) -> Iterator[ConfigError | str]:
    from ..hub.answer_section import read_reply_rules
    from ..hub.reload import make_tls
    from ..hub.sections import read_alerts, read_quotas, read_routers, read_sources
    from ..routers.runner import RouterSpec

    sections = [section.get("topic") for section in config.file.sources]
    yield from (one for one in (*read_quotas(config), *read_alerts(config)) if isinstance(one, ConfigError))
    for one in (*read_sources(config), *read_routers(config)):
        if isinstance(one, ConfigError):
            yield one
        elif isinstance(one, RouterSpec):
            yield from _problems_of_router(one, config)
        elif one.provider.ownership and one.topic in sections:
            yield _binding(one)
    yield from _mistake(partial(read_reply_rules, config))
    yield from _mistake(partial(make_tls, config))


def _mistake(check: Callable[[], object]) -> Iterator[ConfigError]:
    try:
        check()
    except ConfigError as error:
        yield error


def _binding(source: Source) -> str:
    if source.owners:
        return f"the source {source.topic} is bound to {', '.join(source.owners)}: what names another owner is refused"
    return f"the source {source.topic} is bound to no owner: whoever has its secret can speak for any"


def _problems_of_router(spec: RouterSpec, config: Config) -> Iterator[ConfigError]:
    import trio

    from ..hub.ineffective import exists
    from ..hub.sections import GITHUB, error_of_router
    from ..routers.loading import make
    from ..routers.threads import exit_as_error, run_within_limit

    try:
        with exit_as_error():
            router = trio.run(run_within_limit, partial(make, spec.kind, spec.options, resolve_secret))
    # The module or the constructor of a router may raise anything.
    except Exception as error:  # noqa: BLE001
        reason = str(error) if isinstance(error, ConfigError) else f"the router cannot be created: {describe(error)}"
        yield error_of_router(config, spec.name, f"[routers.{spec.name}]: {reason}")
        return
    for topic in router.topics:
        reason = ""
        if (meant := topic_meant(topic)) != topic:
            reason = f"reads {topic!r}, which is not the topic of anything: is {meant!r} meant?"
        elif not exists(topic, config) and spec.kind != GITHUB:
            reason = f"reads {topic!r}, which is none of the unsafe topics of this hub"
        if reason:
            yield error_of_router(config, spec.name, f"[routers.{spec.name}] {reason}")
