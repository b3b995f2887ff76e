"""Samples: the measured values, and the ratios between those of the same round."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

Values = Mapping[str, float]
"""Values measured together, by quantity, and ``refused``, ``lost`` and ``generator``, the load of the generator."""


class Cell(NamedTuple):
    """A cell of the result tables: for example ``fanout``, ``200 B, one at a time``, 1000 subscribers, ``hookbot``."""

    measure: str
    case: str
    n: int
    contestant: str


@dataclass(frozen=True)
class Sample:
    """Values of one cell in one round."""

    cell: Cell
    round: int
    values: Values


@dataclass(frozen=True)
class Spread:
    """Median, minimum and maximum of several values."""

    values: tuple[float, ...]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values)

    @property
    def low(self) -> float:
        """The minimum."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The maximum."""
        return max(self.values)


@dataclass
class Samples:
    """All samples of a run."""

    samples: list[Sample] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        """Add a sample."""
        self.samples.append(sample)

    @property
    def faulty(self) -> bool:
        """True if a message was lost or refused."""
        return any(sample.values.get("refused") or sample.values.get("lost") for sample in self.samples)

    def cells(self) -> list[Cell]:
        """Cells that have samples, in the order in which they were measured."""
        return list(dict.fromkeys(sample.cell for sample in self.samples))

    def by_round(self, cell: Cell, quantity: str) -> dict[int, float]:
        """Values of a cell by round."""
        return {one.round: one.values[quantity] for one in self.samples if one.cell == cell and quantity in one.values}

    def spread(self, cell: Cell, quantity: str) -> Spread | None:
        """Values of a cell, or None if there are none."""
        values = tuple(self.by_round(cell, quantity).values())
        return Spread(values) if values else None

    def ratio(self, cell: Cell, reference: Cell, quantity: str) -> Spread | None:
        """Values of a cell divided by those of the reference in the same round, or None if there are none."""
        mine, theirs = self.by_round(cell, quantity), self.by_round(reference, quantity)
        ratios = tuple(mine[n] / theirs[n] for n in mine if theirs.get(n))
        return Spread(ratios) if ratios else None
