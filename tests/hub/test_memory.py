"""Memory of the process, in a process of its own: the setting is for all of it."""

import subprocess
import sys

import pytest

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
