"""The ``[retention."TOPIC"]`` sections of a configuration file, as the budgets that they mean."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from ..errors import ConfigError
from ..hub.config_file import ConfigFile, Mistakes, Table
from ..hub.prefixes import parse_prefix
from ..log.budgets import ROOTS
from ..log.retention import Budget, Retention
from ..protocol.paths import topic_meant
from ..protocol.topics import is_unsafe
from .parameters import DURATION, SIZE

KEYS = ("keep", "keep-bytes", "keep-count")
# Each topic is compared with all of them when messages are deleted.
MAX_BUDGETS = 32


def read_budgets(file: ConfigFile, rest: Retention) -> tuple[Budget, ...]:
    """Budgets of the sections, which have the limits of the `rest` where they name none.

    Raises one `ConfigError` with all mistakes, one per line.
    """
    read = [one for prefix, section in file.retention.items() for one in _read(file, prefix, section, rest)]
    wrong = [str(one) for one in read if isinstance(one, ConfigError)]
    if len(file.retention) > MAX_BUDGETS:
        wrong.append(str(file.error(f"at most {MAX_BUDGETS} sections of retention, not {len(file.retention)}")))
    if wrong:
        raise ConfigError("\n".join(wrong))
    return tuple(one for one in read if isinstance(one, Budget))


def _read(file: ConfigFile, prefix: str, section: Mapping[str, Any], rest: Retention) -> Iterator[Budget | ConfigError]:
    table = Table({key.replace("_", "-"): value for key, value in section.items()})
    try:
        if topic_meant(prefix) in ROOTS:
            rest_of = "--keep and the options beside it are for the rest of the topics"
            raise ConfigError(f"{prefix!r} is no section: {rest_of}")
        parse_prefix(prefix)
        budget = Budget(
            prefix,
            max_age_s=table.take("keep", str, _as(DURATION), default=rest.max_age_s),
            max_bytes=table.take(
                "keep-bytes", str, _as(SIZE), default=rest.max_unsafe_bytes if is_unsafe(prefix) else rest.max_bytes
            ),
            max_count=table.take("keep-count", int, _as(click.IntRange(1)), default=rest.max_count),
        )
        table.wrong_keys(table.values, "a section of retention has no option", KEYS)
        table.check()
        yield budget
    except Mistakes as error:
        for key, reason in error.mistakes:
            yield file.error(reason, key, f"retention.{prefix}")
    except ConfigError as error:
        yield file.error(str(error), header=f"retention.{prefix}")


def _as(kind: click.ParamType[Any]) -> Callable[[Any], Any]:
    def convert(value: Any) -> Any:
        try:
            return kind.convert(value, None, None)
        except click.BadParameter as error:
            raise ConfigError(error.message) from None

    return convert
