"""Logs that have many messages when a hub starts with them."""

from pathlib import Path

import trio

from hookbot.log.sqlite import open_sqlite_log
from hookbot.protocol.message import Draft, Message

# Messages in one commit, as a hub writes them under load.
BATCH = 1000


def fill(directory: Path, count: int, topic: str, body: bytes) -> list[str]:
    """Create a log with `count` messages, and return their ids."""
    return trio.run(_fill, directory, count, Draft(topic, body))


async def _fill(directory: Path, count: int, draft: Draft) -> list[str]:
    directory.mkdir(mode=0o700)
    ids: list[str] = []
    async with open_sqlite_log(directory) as log:
        while len(ids) < count:
            outcomes = await log.append([draft] * min(BATCH, count - len(ids)))
            ids += [outcome.id for outcome in outcomes if isinstance(outcome, Message)]
    return ids
