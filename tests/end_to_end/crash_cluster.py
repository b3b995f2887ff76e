"""`make crash-test-cluster`: something happens to two hubs or to their PostgreSQL, and nobody misses anything.

It takes less than ten minutes. `PYTHONPATH=tests python -m end_to_end.crash_cluster SEED [CASE ...]` repeats the
choices of another run, though not its timing, in all cases or in those whose names begin so.
"""

import logging
import sys
import time
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from end_to_end.crashing.cluster_cases import CASES, DURABLE, Case, Skipped
from support.postgres import PostgresServer, running_postgres

CASE_S = 180  # on a machine that has much else to do


def main() -> None:
    """Run the cases; the exit code tells whether one has failed."""
    logging.getLogger("hookbot").setLevel(logging.CRITICAL)  # that connections are lost is no news
    seed, *wanted = sys.argv[1:] or [str(time.time_ns())]
    print(f"seed {seed}\n", flush=True)
    failed = []
    for name, case in CASES.items():
        if name.startswith(tuple(wanted or [""])):
            began = time.monotonic()
            print(f"{name}: ", end="", flush=True)
            if not passes(case, seed):
                failed.append(name)
            print(f"  it took {time.monotonic() - began:.0f} s\n", flush=True)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def passes(case: Case, seed: str) -> bool:
    """Run a case on a server of its own, and print what it reports."""
    try:
        with TemporaryDirectory() as directory, running_postgres(**DURABLE) as server:
            print(trio.run(run_case, case, server, Path(directory), seed))
    except Skipped as reason:
        print(f"skipped, {reason}")
    except Exception:
        print(f"FAILED\n{traceback.format_exc()}")
        return False
    return True


async def run_case(case: Case, server: PostgresServer, directory: Path, seed: str) -> str:
    with trio.fail_after(CASE_S):
        return await case(server, directory, seed)


if __name__ == "__main__":
    main()
