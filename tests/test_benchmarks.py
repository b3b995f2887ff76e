"""The benchmarks work: nothing of what they measure is asserted."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_a_tiny_run_writes_a_table_the_samples_and_pictures_and_loses_nothing(tmp_path):
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--tiny", "--to", str(tmp_path), "--disk", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert "| hookbot, durable |" in (tmp_path / "results.md").read_text()
    samples = json.loads((tmp_path / "results.json").read_text())["samples"]
    assert {sample["measure"] for sample in samples} >= {"fanout", "publish", "stalled", "history"}
    assert not any(sample.get("refused") or sample.get("lost") for sample in samples)
    assert all(b"<svg" in picture.read_bytes() for picture in tmp_path.glob("*.svg"))
    assert list(tmp_path.glob("*.svg"))
