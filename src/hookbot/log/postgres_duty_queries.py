"""The SQL of duties, each function for an open connection in autocommit mode; all times are of the server's clock."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from .duties import Holder, HubInfo
from .held_duties import TERM_S
from .postgres_batch import locked

if TYPE_CHECKING:
    from psycopg import Connection

NOTICE = "duties"
"""Payload of the notification that duties were given up or taken over."""

# After that, neither a hub nor an old fence comes back.
FORGOTTEN_AFTER = "1 day"

# Rows are locked in the order of their names, or two hubs that want some of the same would block each other.
_LOCK = """
    SELECT name FROM duty JOIN unnest(%(names)s::text[], %(fences)s::bigint[]) AS held (name, fence)
    USING (name, fence) WHERE hub = %(hub)s ORDER BY name FOR UPDATE OF duty
"""
_LOCK_ALL = "SELECT name FROM duty WHERE hub = %(hub)s ORDER BY name FOR UPDATE"
_RENEW = "UPDATE duty SET until = clock_timestamp() + make_interval(secs => %s) WHERE name = ANY(%s::text[])"
_GIVE_UP = "UPDATE duty SET hub = '', until = clock_timestamp() WHERE name = ANY(%s::text[])"
# A first fence is the time, so that it is higher than those of a row of the same name that was forgotten.
_CLAIM = """
    INSERT INTO duty (name, hub, fence, until)
    SELECT name, %(hub)s, extract(epoch FROM clock_timestamp())::bigint,
           clock_timestamp() + make_interval(secs => %(term)s)
    FROM unnest(%(names)s::text[]) AS asked (name) ORDER BY name COLLATE "C"
    ON CONFLICT (name) DO UPDATE SET hub = excluded.hub, fence = duty.fence + 1, until = excluded.until
    WHERE duty.hub IN ('', excluded.hub) OR duty.until <= clock_timestamp()
       OR duty.name = ANY(%(takeovers)s::text[])
    RETURNING name, fence
"""
_HOLDERS = """
    SELECT duty.name, duty.hub, coalesce(hub.url, ''), extract(epoch FROM duty.until - clock_timestamp())::float8
    FROM duty LEFT JOIN hub ON hub.id = duty.hub
    WHERE duty.name = ANY(%(names)s::text[]) AND duty.hub NOT IN ('', %(hub)s) AND duty.until > clock_timestamp()
"""
_SEEN = """
    INSERT INTO hub (id, url, version, configuration, replying, started, until, told)
    VALUES (%(id)s, %(url)s, %(version)s, %(configuration)s, %(replying)s, clock_timestamp(),
            clock_timestamp() + make_interval(secs => %(term)s), %(told)s)
    ON CONFLICT (id) DO UPDATE
    SET until = excluded.until, told = excluded.told, configuration = excluded.configuration,
        replying = excluded.replying
"""
_FORGET = (
    """DELETE FROM hub WHERE id IN
    (SELECT id FROM hub WHERE until < clock_timestamp() - %s::interval FOR UPDATE SKIP LOCKED)""",
    """DELETE FROM duty WHERE name IN
    (SELECT name FROM duty WHERE until < clock_timestamp() - %s::interval FOR UPDATE SKIP LOCKED)""",
)
_OTHERS = """
    SELECT id, url, configuration, replying FROM hub WHERE id <> %s AND until > clock_timestamp() ORDER BY started, id
"""
_HUBS = """
    SELECT id, url, version, configuration, (extract(epoch FROM started) * 1e6)::bigint,
           extract(epoch FROM clock_timestamp() - until)::float8 + %(term)s, told,
           ARRAY(SELECT name FROM duty WHERE duty.hub = hub.id AND duty.until > clock_timestamp() ORDER BY name)
    FROM hub ORDER BY started, id
"""


@dataclass(frozen=True, slots=True)
class OwnHub:
    """Description of this hub, as it tells the others about itself."""

    id: str
    """Random, and new at each start."""
    url: str
    version: str
    configuration: str
    replying: str = "[]"
    """Patterns of the topics to whose messages its listeners reply, as JSON."""


class OtherHub(NamedTuple):
    """Facts that another hub, which is alive, has told of itself."""

    id: str
    url: str
    configuration: str
    replying: Sequence[str]


def renew(
    connection: "Connection[Any]", hub: OwnHub, told: int, held: Mapping[str, int]
) -> tuple[Collection[str], Sequence[OtherHub]]:
    """Renew duties, by name and fence, and the row of the hub.

    Returns the names of those that it still holds, and the other hubs, the oldest first.
    """
    with connection.transaction():
        kept = _names(connection.execute(_LOCK, _named(hub.id, held)))
        connection.execute(_RENEW, (TERM_S, kept))
        connection.execute(_SEEN, asdict(hub) | {"told": told, "term": TERM_S})
    for statement in _FORGET:
        connection.execute(statement, (FORGOTTEN_AFTER,))
    others = connection.execute(_OTHERS, (hub.id,)).fetchall()
    return kept, [OtherHub(id, url, told, json.loads(replying)) for id, url, told, replying in others]


def claim(
    connection: "Connection[Any]",
    hub: str,
    channel: str,
    *,
    lock_key: int,
    names: Sequence[str],
    takeovers: Sequence[str],
) -> tuple[Mapping[str, int], Mapping[str, Holder]]:
    """Fences of those of the duties that the hub has from now on, and the holders of others."""
    holders = _holders(connection, hub, [name for name in names if name not in takeovers])
    wanted = [name for name in names if name not in holders]
    if not wanted:
        return {}, holders
    # The lock of the log: when the fence has changed, no batch with the earlier one is under way.
    with locked(connection, lock_key):
        asked = {"hub": hub, "names": wanted, "takeovers": takeovers, "term": TERM_S}
        fences = dict(connection.execute(_CLAIM, asked).fetchall())
    if takeovers:
        _notify(connection, channel)
    # Claimed by another one meanwhile.
    return fences, holders | _holders(connection, hub, [name for name in wanted if name not in fences])


def give_up(connection: "Connection[Any]", hub: str, channel: str, held: Mapping[str, int]) -> None:
    """Give up duties, by name and fence; those that another hub has taken over stay there."""
    with connection.transaction():
        connection.execute(_GIVE_UP, (_names(connection.execute(_LOCK, _named(hub, held))),))
    _notify(connection, channel)


def leave(connection: "Connection[Any]", hub: str, channel: str) -> None:
    """Give up all duties of a hub, and forget it."""
    with connection.transaction():
        connection.execute(_GIVE_UP, (_names(connection.execute(_LOCK_ALL, {"hub": hub})),))
        connection.execute("DELETE FROM hub WHERE id = %s", (hub,))
    _notify(connection, channel)


def list_hubs(connection: "Connection[Any]") -> Sequence[HubInfo]:
    """All hubs, the oldest first."""
    return [HubInfo(*row) for row in connection.execute(_HUBS, {"term": TERM_S})]


def _notify(connection: "Connection[Any]", channel: str) -> None:
    with connection.transaction():
        # PostgreSQL lets nobody else notify until this commit has ended: not for as long as a disk takes.
        connection.execute("SET LOCAL synchronous_commit = off")
        connection.execute("SELECT pg_notify(%s, %s)", (channel, NOTICE))


def _holders(connection: "Connection[Any]", hub: str, names: Sequence[str]) -> dict[str, Holder]:
    rows = connection.execute(_HOLDERS, {"hub": hub, "names": names}).fetchall() if names else ()
    return {name: Holder(*holder) for name, *holder in rows}


def _named(hub: str, held: Mapping[str, int]) -> Mapping[str, Any]:
    return {"hub": hub, "names": list(held), "fences": list(held.values())}


def _names(rows: Iterable[tuple[str]]) -> Sequence[str]:
    return [name for (name,) in rows]
