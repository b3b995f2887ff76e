"""``python -m benchmarks``: measure, print a table, and write it to a directory with the samples and plots."""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

from benchmarks import plots, table
from benchmarks.connecting import Lost
from benchmarks.contestants import ALL, Stage
from benchmarks.machine import describe
from benchmarks.plan import FULL, QUICK, TINY, Plan
from benchmarks.processes import raise_file_limit
from benchmarks.samples import Samples

MEASURES = (
    "mix",
    "console",
    "deliveries",
    "many_topics",
    "publish",
    "fanout",
    "fair",
    "latency",
    "handshakes",
    "idle",
    "stalled",
    "secure",
    "topics",
    "history",
    "many_hubs",
    "start",
)
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected measures, and return the exit status: 1 if a message was lost or refused."""
    options = _parser().parse_args(arguments)
    for one in ALL:
        if one.name in options.contestants and not one.installed:
            _say(f"{one.name} is skipped: {one.program} is not installed")
    raise_file_limit()
    plan: Plan = FULL if options.full else TINY if options.tiny else QUICK
    modules = {name: import_module(f".measures.{name}", __package__) for name in options.only or MEASURES}
    machine, samples, report, incomplete = describe(), Samples(), "", False
    with tempfile.TemporaryDirectory(dir=options.disk) as disk, Stage(Path(disk), options.contestants) as stage:
        for name, module in modules.items():
            start = time.monotonic()
            try:
                for sample in module.measure(stage, plan):
                    samples.add(sample)
            except Lost as lost:
                _say(f"{name} is incomplete: {lost}")
                incomplete = True
            _say(f"{name}: {time.monotonic() - start:.0f} s")
            # Written after each measure, so that an interrupted run keeps its results.
            headings = {each: table.Heading.of(one.COUNTED, one.REFERENCES) for each, one in modules.items()}
            report = table.render(samples, machine, plan, headings)
            _write(options.to, report, samples, machine, plan)
            plots.draw(samples, headings, options.to)
    print(report)
    return int(incomplete or samples.faulty)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Benchmark hookbot and comparable servers."
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="more cases, more rounds, longer")
    size.add_argument("--tiny", action="store_true", help="only check that everything works")
    parser.add_argument("--only", action="append", choices=MEASURES, help="run this measure; repeatable")
    names = [one.name for one in ALL]
    parser.add_argument(
        "--with", dest="contestants", nargs="+", choices=names, default=names, help="compare these servers"
    )
    parser.add_argument("--to", type=Path, default=RESULTS, help="directory for the results")
    parser.add_argument("--disk", type=Path, default=Path("/var/tmp"), help="directory for the logs of the hubs")
    return parser


def _write(directory: Path, report: str, samples: Samples, machine: dict[str, str], plan: Plan) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "results.md").write_text(report)
    values = [{**sample.cell._asdict(), "round": sample.round, **sample.values} for sample in samples.samples]
    document = {"machine": machine, "plan": asdict(plan), "samples": values}
    (directory / "results.json").write_text(json.dumps(document, indent=1, ensure_ascii=False))


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
