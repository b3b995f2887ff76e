"""The short form of `make crash-test-cluster`."""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import trio

from end_to_end.crashing.cluster import Cluster
from end_to_end.crashing.cluster_cases import DURABLE, Case, of
from end_to_end.crashing.cluster_load import Load
from end_to_end.crashing.consumer_faults import lose_consumers
from end_to_end.crashing.hub_faults import freeze_hub, kill_hubs
from end_to_end.crashing.server_faults import end_notifications, restart_server
from support.postgres import PostgresServer, running_postgres

pytestmark = pytest.mark.slow

GUARD_S = 150  # only ever reached by a test that fails


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "hookbot")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres(**DURABLE) as server:
        yield server


async def crash_in_many_ways(cluster: Cluster, load: Load, chance: random.Random) -> str:
    """One after the other, which is faster than each on hubs of its own."""
    remarks = [
        await kill_hubs(cluster, load, chance, kills=2, life_s=1),
        await end_notifications(cluster, load, chance, times=1),
        await restart_server(cluster, load, chance, times=1),
    ]
    return "\n".join(remarks)


@pytest.mark.parametrize(
    "case",
    [of(crash_in_many_ways), of(freeze_hub, seconds=0), partial(lose_consumers, kills=1, life_s=1)],
    ids=["crashes", "hub frozen", "holder killed"],
)
async def test_nobody_misses_anything_whatever_happens_to_hubs_and_server(
    case: Case, server: PostgresServer, tmp_path: Path
) -> None:
    with trio.fail_after(GUARD_S):
        print(await case(server, tmp_path, "1"))
