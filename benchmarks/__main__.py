"""``python -m benchmarks``: measure, print a table, and write it down with the samples and pictures."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from . import plots, table
from .contestants import ALL, Stage
from .machine import describe
from .plan import FULL, QUICK, TINY, Plan
from .processes import raise_file_limit
from .samples import Samples

MEASURES = ("fanout", "publish", "latency", "handshakes", "idle", "stalled", "secure", "topics", "history")
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for; 1 if something was lost or refused."""
    options = _parser().parse_args(arguments)
    plan: Plan = FULL if options.full else TINY if options.tiny else QUICK
    measures = {name: import_module(f".measures.{name}", __package__) for name in options.only or MEASURES}
    references = {
        name: {quantity: one and one.name for quantity, one in measure.REFERENCES.items()}
        for name, measure in measures.items()
    }
    for one in ALL:
        if not one.installed:
            print(f"{one.name} is left out: there is no {one.program} here", file=sys.stderr)
    raise_file_limit()
    machine = describe()
    samples = Samples()
    report = ""
    with tempfile.TemporaryDirectory(dir=options.disk) as directory, Stage(Path(directory)) as stage:
        for name, measure in measures.items():
            start = time.monotonic()
            for sample in measure.measure(stage, plan):
                samples.add(sample)
            print(f"{name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
            report = table.render(samples, machine, plan, references)
            _write(options.to, report, samples, machine, plan, references)
    print(report)
    return int(any(sample.values.get("refused") or sample.values.get("lost") for sample in samples.samples))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="How fast hookbot is, beside others.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="everything, and longer: an hour")
    size.add_argument("--tiny", action="store_true", help="only to see that everything works")
    parser.add_argument("--only", action="append", choices=MEASURES, help="measure this; repeatable")
    parser.add_argument("--to", type=Path, default=RESULTS, help="the directory for the results")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="a directory on the disk to store on")
    return parser


def _write(
    directory: Path,
    report: str,
    samples: Samples,
    machine: dict[str, str],
    plan: Plan,
    references: table.References,
) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.md").write_text(report)
    values = [{**sample.cell._asdict(), "round": sample.round, **sample.values} for sample in samples.samples]
    document = {"machine": machine, "plan": asdict(plan), "samples": values}
    (directory / "results.json").write_text(json.dumps(document, indent=1, ensure_ascii=False))
    plots.draw(samples, references, directory)


if __name__ == "__main__":
    sys.exit(main())
