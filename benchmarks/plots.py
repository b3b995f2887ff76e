"""Plots of a run: an SVG for each measure, with bars for each quantity of each case."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from benchmarks.samples import Cell, Samples
from benchmarks.table import Heading, Headings, number

PANEL_WIDTH = 400
LABEL_WIDTH = 150
BAR_WIDTH = 170
BAR_HEIGHT = 16
HEADING_HEIGHT = 40
OURS, OTHERS = "#2a6fbb", "#b8bec6"
STYLE = "text{font:12px system-ui,sans-serif;fill:#222}.title{font-weight:600}.n{fill:#666}"


def draw(samples: Samples, headings: Headings, directory: Path) -> None:
    """Write a plot of each measure to ``MEASURE.svg`` in the directory."""
    cells = samples.cells()
    for measure in dict.fromkeys(cell.measure for cell in cells):
        these = [cell for cell in cells if cell.measure == measure]
        (directory / f"{measure}.svg").write_text(_picture(samples, these, headings[measure]))


def _picture(samples: Samples, cells: Sequence[Cell], heading: Heading) -> str:
    shapes: list[str] = []
    width = height = 0
    for case in dict.fromkeys(cell.case for cell in cells):
        for quantity in heading.references:
            row = [cell for cell in cells if cell.case == case and samples.spread(cell, quantity)]
            if not row:
                continue
            shapes.append(_text(0, height + 15, f"{case}: {quantity}", "title"))
            panels = list(dict.fromkeys(cell.n for cell in row))
            for column, n in enumerate(panels):
                x, counted = column * PANEL_WIDTH, f"{heading.counted}: {n:,}" if heading.counted else f"{n:,}"
                shapes.append(_text(x, height + 32, counted, "n"))
                shapes += _bars(samples, [cell for cell in row if cell.n == n], quantity, x, height + HEADING_HEIGHT)
            width = max(width, len(panels) * PANEL_WIDTH)
            height += HEADING_HEIGHT + 20 + BAR_HEIGHT * max(sum(cell.n == n for cell in row) for n in panels)
    size = f'width="{width + 20}" height="{height + 10}" viewBox="-10 -5 {width + 20} {height + 10}"'
    background = '<rect x="-10" y="-5" width="100%" height="100%" fill="#fff"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{STYLE}</style>{background}'
    return "\n".join([head, *shapes, "</svg>", ""])


def _bars(samples: Samples, cells: Sequence[Cell], quantity: str, x: int, y: int) -> Iterator[str]:
    values = {cell.contestant: spread.middle for cell in cells if (spread := samples.spread(cell, quantity))}
    longest = max(*values.values(), 1e-9)
    for line, (contestant, value) in enumerate(values.items()):
        top = y + line * BAR_HEIGHT
        bar, colour = max(1.0, value / longest * BAR_WIDTH), OURS if contestant.startswith("hookbot") else OTHERS
        yield _text(x, top + 12, contestant)
        yield f'<rect x="{x + LABEL_WIDTH}" y="{top + 2}" width="{bar:.1f}" height="{BAR_HEIGHT - 4}" fill="{colour}"/>'
        yield _text(x + LABEL_WIDTH + int(bar) + 5, top + 12, number(value))


def _text(x: int, y: int, text: str, style: str = "") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text x="{x}" y="{y}"{kind}>{escape(text)}</text>'
