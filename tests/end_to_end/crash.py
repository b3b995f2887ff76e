"""`make crash-test`: hubs are killed again and again, and nobody misses anything. It takes less than two minutes.

`PYTHONPATH=tests python -m end_to_end.crash SEED` repeats the choices of another run, though not its timing.
"""

import logging
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from end_to_end.crashing.under_load import crash_under_load
from end_to_end.crashing.while_routing import crash_while_routing

DEADLINE_S = 600  # on a machine that has much else to do


def main() -> None:
    """Run both; raises `AssertionError`."""
    logging.getLogger("hookbot").setLevel(logging.CRITICAL)  # that connections are lost is no news
    seed = sys.argv[1] if len(sys.argv) > 1 else str(time.time_ns())
    print(f"seed {seed}\n", flush=True)
    trio.run(crash_everything, seed)


async def crash_everything(seed: str) -> None:
    """A hub that does everything, then one that routes."""
    crashes = (
        partial(crash_under_load, kills=20, seed=seed),
        partial(crash_while_routing, deliveries=10_000, kills=5, seed=seed),
    )
    with trio.fail_after(DEADLINE_S):
        for crash in crashes:
            began = time.monotonic()
            with TemporaryDirectory() as directory:
                print(await crash(Path(directory)))
            print(f"it took {time.monotonic() - began:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
