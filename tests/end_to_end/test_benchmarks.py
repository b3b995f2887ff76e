"""The benchmarks work: nothing of what they measure is asserted."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.__main__ import MEASURES

from benchmarks import browser, postgres
from support import GUARD_S

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TINY = [sys.executable, "-m", "benchmarks", "--tiny", "--with", "hookbot", "bare socket.send"]


def test_a_tiny_run_writes_a_table_the_samples_and_pictures_and_loses_nothing(tmp_path: Path) -> None:
    # Not on its own disk: PostgreSQL's user may not enter pytest's directory.
    command = [*TINY, "--to", str(tmp_path / "results")]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3 * GUARD_S, check=False)

    assert run.returncode == 0, run.stderr
    assert "| bare socket.send |" in (tmp_path / "results/results.md").read_text()
    samples = json.loads((tmp_path / "results/results.json").read_text())["samples"]
    measures = {sample["measure"] for sample in samples}
    left_out = {name for name, lacks in (("many_hubs", postgres.missing()), ("console", browser.missing())) if lacks}
    assert measures == set(MEASURES) - left_out
    assert not any(sample.get("refused") or sample.get("lost") for sample in samples)
    assert {picture.stem for picture in tmp_path.glob("results/*.svg")} == measures
