"""Options that select stored messages."""

from collections.abc import Mapping
from typing import get_args

import click
from click.testing import CliRunner

from hookbot.cli.filter_options import VERDICTS, filter_options, selection_options
from hookbot.web.api.bulk import RANGE
from hookbot.web.api.filters import FILTERS
from hookbot.web.api.summaries import Verdict


@click.command()
@filter_options
def command(filters: Mapping[str, str]) -> None:
    click.echo(dict(filters))


@click.command()
@selection_options
def select(selection: Mapping[str, str]) -> None:
    click.echo(dict(selection))


def test_the_options_that_are_given_are_the_query() -> None:
    words = ["--topic", "a/", "--where", "body"]

    assert CliRunner().invoke(command, words).output == "{'topic': 'a/', 'where': 'body'}\n"


def test_a_range_is_a_part_of_what_is_selected() -> None:
    words = ["--until", "x-2", "--topic", "a/", "--from", "x-1"]

    assert CliRunner().invoke(select, words).output == "{'topic': 'a/', 'from': 'x-1', 'until': 'x-2'}\n"


def test_they_are_those_of_the_api() -> None:
    assert [option.name for option in command.params] == [one.name for one in FILTERS]
    assert [option.name for option in select.params] == [one.name for one in (*FILTERS, *RANGE)]
    assert get_args(Verdict) == VERDICTS
