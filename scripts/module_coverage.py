"""Coverage of each module by its own test file: ``make coverage``.

The whole suite runs once, and coverage.py records which tests executed each line. For a module, only lines count that
its own test file executed, or that ran outside all tests, as at import. So one that is tested only through others shows
up. This script reads the recorded data.
"""

import re
import sys
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "hookbot"

ELSEWHERE: dict[str, tuple[str, str]] = {
    "log/memory.py": ("log/test_contract.py", "it promises the contract of every log and nothing else"),
    "routers/__init__.py": ("routers/test_router_api.py", "the promises to the authors of routers are in one file"),
}
"""Modules without a test file of their own: the file that covers each of them, and why it is that one."""


def own_test(module: str) -> str:
    """Test file that must cover a module: ``tests/log/test_sqlite.py`` for ``log/sqlite.py``, or one in `ELSEWHERE`."""
    if module in ELSEWHERE:
        return f"tests/{ELSEWHERE[module][0]}"
    folder, _, file = module.rpartition("/")
    return "/".join(part for part in ("tests", folder, f"test_{file}") if part)


def gaps(coverage: Coverage, module: str) -> list[str]:
    """Lines that the module's own tests never execute, and lines (``12->``) with a branch that they never take."""
    path = str(SOURCE / module)
    coverage.get_data().set_query_contexts(["^$", f"^{re.escape(own_test(module))}::"])
    *_, missing, _ = coverage.analysis2(path)
    partial = [line for line, (total, taken) in coverage.branch_stats(path).items() if 0 < taken < total]
    return [*map(str, missing), *(f"{line}->" for line in partial)]


def main() -> int:
    """Print the gaps of each module; the exit code is 1 if there are any."""
    coverage = Coverage()
    coverage.load()
    modules = sorted(path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py"))
    found = {module: missing for module in modules if (missing := gaps(coverage, module))}
    for module, missing in found.items():
        print(f"{module}: {' '.join(missing)}  (by {own_test(module)})")
    for module, (test, reason) in sorted(ELSEWHERE.items()):
        print(f"{module} is covered by {test}: {reason}")
    print(f"{len(modules) - len(found)} of {len(modules)} modules are covered whole by their own tests")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
