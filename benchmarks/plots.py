"""A run, as pictures: a bar chart for each quantity of each case."""

import re
from pathlib import Path

import pygal
from pygal.style import CleanStyle

from .samples import Samples
from .table import References


def draw(samples: Samples, references: References, directory: Path) -> None:
    """Write one SVG for each quantity of each case into the directory."""
    cells = samples.cells()
    for measure, case in dict.fromkeys((cell.measure, cell.case) for cell in cells):
        for quantity in references[measure]:
            these = [cell for cell in cells if (cell.measure, cell.case) == (measure, case)]
            these = [cell for cell in these if samples.spread(cell, quantity)]
            if not these:
                continue
            columns = list(dict.fromkeys(cell.n for cell in these))
            chart = pygal.Bar(
                style=CleanStyle,
                logarithmic=True,
                js=[],
                width=900,
                height=420,
                title=f"{measure}, {case}: {quantity}",
                x_labels=[f"{n:,}" for n in columns],
                legend_at_bottom=True,
                no_prefix=True,
            )
            for contestant in dict.fromkeys(cell.contestant for cell in these):
                middles = {
                    cell.n: spread.middle
                    for cell in these
                    if cell.contestant == contestant and (spread := samples.spread(cell, quantity))
                }
                chart.add(contestant, [middles.get(n) for n in columns])
            name = re.sub(r"[^a-z0-9]+", "-", f"{measure} {case} {quantity}".lower()).strip("-")
            (directory / f"{name}.svg").write_bytes(chart.render())
