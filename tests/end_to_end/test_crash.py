"""The short form of `make crash-test`."""

from pathlib import Path

import pytest
import trio

from end_to_end.crashing.under_load import crash_under_load
from end_to_end.crashing.while_routing import crash_while_routing

pytestmark = pytest.mark.slow

GUARD_S = 150  # only ever reached by a test that fails


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "hookbot")


async def test_nobody_misses_anything_however_often_the_hub_is_killed(tmp_path: Path) -> None:
    with trio.fail_after(GUARD_S):
        print(await crash_under_load(tmp_path, kills=3, seed="1", life_s=1))


async def test_each_repository_hears_each_of_its_deliveries_once_when_the_hub_is_killed_while_it_routes(
    tmp_path: Path,
) -> None:
    with trio.fail_after(GUARD_S):
        print(await crash_while_routing(tmp_path, deliveries=1_000, kills=1, seed="1"))
