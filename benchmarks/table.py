"""The report of a run, in Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.contestants import Contestant
from benchmarks.plan import Plan
from benchmarks.samples import Cell, Samples, Spread
from benchmarks.targets import targets


@dataclass(frozen=True)
class Heading:
    """Headings of the tables of a measure."""

    counted: str
    """Name of the things that the columns count, such as ``subscribers``; empty if there are none."""
    references: Mapping[str, str | None]
    """Contestant that the others are compared with, by quantity, or None for no comparison."""

    @classmethod
    def of(cls, counted: str, references: Mapping[str, Contestant | None]) -> "Heading":
        """Heading from the constants of a measure's module."""
        return cls(counted, {quantity: one.name if one else None for quantity, one in references.items()})


Headings = Mapping[str, Heading]
"""Headings by measure."""


def render(samples: Samples, machine: Mapping[str, str], plan: Plan, headings: Headings) -> str:
    """The report of a run."""
    return "\n".join(
        [
            "# Results",
            "",
            *(f"- {name}: {value}" for name, value in machine.items()),
            "",
            "Median of the rounds; in brackets the ratio to the reference in the same round: median, minimum–maximum.",
            "",
            *_targets(samples, plan),
            *_measures(samples, headings),
        ]
    )


def number(value: float) -> str:
    """The number with three significant digits, or without decimals."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(spread: Spread) -> str:
    """Median, minimum and maximum of a ratio."""
    if len(spread.values) == 1:
        return f"{spread.middle:.2f}×"
    return f"{spread.middle:.2f}×, {spread.low:.2f}–{spread.high:.2f}"


def _targets(samples: Samples, plan: Plan) -> Iterator[str]:
    yield from _row(["target", "bound", "measured", ""])
    yield from _row(["---"] * 4)
    for target in targets(plan):
        spread = target.reached(samples)
        bound = f"≤ {target.at_most:g}" if target.at_most is not None else f"≥ {target.at_least:g}"
        if spread is None:
            yield from _row([target.name, bound, "not measured", ""])
        else:
            measured = ratio(spread) if target.reference else number(spread.middle)
            yield from _row([target.name, bound, measured, "reached" if target.holds(spread.middle) else "**missed**"])
    yield ""


def _measures(samples: Samples, headings: Headings) -> Iterator[str]:
    cells = samples.cells()
    for measure, case in dict.fromkeys((cell.measure, cell.case) for cell in cells):
        yield from [f"## {measure}: {case}", ""]
        these = [cell for cell in cells if (cell.measure, cell.case) == (measure, case)]
        for quantity in headings[measure].references:
            yield from _quantity(samples, these, quantity, headings[measure])
        yield f"Refused: {_total(samples, these, 'refused'):.0f}, lost: {_total(samples, these, 'lost'):.0f}."
        if busy := _generator(samples, these):
            yield f"Load generator, share of one processor: {busy}."
        yield ""


def _total(samples: Samples, cells: Sequence[Cell], fault: str) -> float:
    return sum(sum(samples.by_round(cell, fault).values()) for cell in cells)


def _generator(samples: Samples, cells: Sequence[Cell]) -> str:
    busiest: dict[str, float] = {}
    for cell in cells:
        if spread := samples.spread(cell, "generator"):
            busiest[cell.contestant] = max(busiest.get(cell.contestant, 0.0), spread.middle)
    return ", ".join(f"{contestant} {share:.0%}" for contestant, share in busiest.items())


def _quantity(samples: Samples, cells: Sequence[Cell], quantity: str, heading: Heading) -> Iterator[str]:
    cells = [cell for cell in cells if samples.spread(cell, quantity)]
    if not cells:
        return
    columns = list(dict.fromkeys(cell.n for cell in cells))
    yield from _row([f"{quantity}; {heading.counted}:" if heading.counted else quantity, *(f"{n:,}" for n in columns)])
    yield from _row(["---", *("---:" for _ in columns)])
    for contestant in dict.fromkeys(cell.contestant for cell in cells):
        row = [contestant]
        for n in columns:
            cell = next((one for one in cells if (one.n, one.contestant) == (n, contestant)), None)
            row.append(_value(samples, cell, quantity, heading.references[quantity]) if cell else "")
        yield from _row(row)
    yield ""


def _value(samples: Samples, cell: Cell, quantity: str, reference: str | None) -> str:
    spread = samples.spread(cell, quantity)
    assert spread
    against = samples.ratio(cell, cell._replace(contestant=reference), quantity) if reference else None
    return number(spread.middle) + (f" ({ratio(against)})" if against and cell.contestant != reference else "")


def _row(cells: Sequence[str]) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
