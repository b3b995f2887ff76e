"""What was measured: samples, and the ratios between those of the same round."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

Values = Mapping[str, float]
"""What was measured at once, by quantity; with "refused" and "lost", and "generator": how busy that was."""


class Cell(NamedTuple):
    """What was measured: for example ``fanout``, ``200 B, one at a time``, 1000 subscribers, ``hookbot``."""

    measure: str
    case: str
    n: int
    contestant: str


@dataclass(frozen=True)
class Sample:
    """One round of one cell."""

    cell: Cell
    round: int
    values: Values


@dataclass(frozen=True)
class Spread:
    """The middle of several values, and the outermost ones."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The least."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The greatest."""
        return max(self.values)


@dataclass
class Samples:
    """All samples of a run."""

    samples: list[Sample] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Take a sample in."""
        self.samples.append(sample)

    def cells(self) -> list[Cell]:
        """Every cell of which there are samples, in the order of measuring."""
        return list(dict.fromkeys(sample.cell for sample in self.samples))

    def by_round(self, cell: Cell, quantity: str) -> dict[int, float]:
        """The values of a cell in each round."""
        return {one.round: one.values[quantity] for one in self.samples if one.cell == cell and quantity in one.values}

    def spread(self, cell: Cell, quantity: str) -> Spread | None:
        """The values of a cell; None if there are none."""
        values = tuple(self.by_round(cell, quantity).values())
        return Spread(values) if values else None

    def ratio(self, cell: Cell, reference: Cell, quantity: str) -> Spread | None:
        """A cell's values divided by another's of the same round; None if there are none."""
        mine, theirs = self.by_round(cell, quantity), self.by_round(reference, quantity)
        ratios = tuple(mine[n] / theirs[n] for n in mine if theirs.get(n))
        return Spread(ratios) if ratios else None
