"""Memory of the process. What malloc is told is for all of it, and is tried in a process of its own."""

import gc
import subprocess
import sys

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from hookbot.hub.memory import exempt_what_stays

MEASURE = """
from hookbot.hub.memory import give_back_large_blocks

def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096

assert give_back_large_blocks()
blocks = [bytes(20_000_000)]
blocks.clear()  # from here on, glibc would keep blocks of this size
before = resident()
blocks = [b"x" * 10_000_000 for _ in range(10)]
last = b"x" * 500_000
del blocks
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and only glibc can be told")
def test_large_blocks_are_given_back_when_they_are_freed() -> None:
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)

    assert int(done.stdout) < 5_000_000


async def test_what_comes_before_the_hub_is_complete_is_exempt_from_garbage_collection_as_well() -> None:
    complete = trio.Event()
    gc.disable()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exempt_what_stays, complete)
            await wait_all_tasks_blocked()
            assert gc.isenabled()
            first = gc.get_freeze_count()
            imported: list[list[int]] = [[] for _ in range(10_000)]
            complete.set()
        assert gc.get_freeze_count() > first + len(imported) // 2
    finally:
        gc.enable()
        gc.unfreeze()
