"""The hubs of a family, listed without one of them: only their database is needed."""

from functools import partial
from typing import TYPE_CHECKING, Any

from .duties import Family
from .postgres_address import PostgresAddress, require_psycopg
from .postgres_connection import PostgresConnection
from .postgres_duty_queries import list_hubs
from .postgres_queries import load_head
from .postgres_schema import check_readable, load_epoch

if TYPE_CHECKING:
    from psycopg import Connection


async def read_family(address: PostgresAddress) -> Family:
    """The hubs of the database at `address`. Raises `ConfigError` if there is no log, and `Unavailable`."""
    require_psycopg()
    connection = PostgresConnection(address, "hookbot hubs", partial(check_readable, address=address))
    try:
        await connection.open()
        return await connection.run(_load)
    finally:
        connection.close()


def _load(connection: "Connection[Any]") -> Family:
    # The head last: what a hub has told is not beyond it.
    hubs = list_hubs(connection)
    return Family(load_epoch(connection), load_head(connection)[0], hubs)
