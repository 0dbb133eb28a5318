"""Charts as inline SVG that takes its colours from the page: strips on a common scale, a heat map, a scatter plot.

Strips stretch with their column and never shrink a letter: labels and figures stay text of the page around them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

HEAT_CELL_SIZE = 20  # pixels of a heat map's cell
HEAT_ROW_LABEL_WIDTH = 128  # pixels kept for its row labels
HEAT_COLUMN_LABEL_HEIGHT = 96  # pixels kept for its column labels
SCATTER_WIDTH, SCATTER_HEIGHT, SCATTER_MARGIN = (
    1500,
    1000,
    20,
)  # units of a scatter plot, and of the margin around it


@dataclass(frozen=True)
class StripValue:
    """One value on a scale from 0 to `scale_end`.

    Attributes:
        value: where the bar ends.
        scale_end: where the scale ends.
        low: start of an interval around the value.
        high: its end.
        baseline: an earlier value to compare with, marked by a ring.
        chance: what chance reaches, marked by a line.
    """

    value: float
    scale_end: float = 1.0
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    chance: float | None = None


@dataclass(frozen=True)
class ScatterPoint:
    """A point of a scatter plot: its place (0..1 each, from the upper left), kind (a CSS class) and number."""

    x: float
    y: float
    kind: str
    number: int


def strip_chart(one: StripValue) -> Markup:
    """A bar with its interval, ring and chance line, as wide as its place."""
    parts = [f'<rect class="bar" x="0" y="5" width="{_percent_of_scale(one.value, one)}" height="8" rx="2"/>']
    if one.low is not None and one.high is not None:
        low, high = _percent_of_scale(one.low, one), _percent_of_scale(one.high, one)
        parts.append(f'<line class="whisker" x1="{low}" x2="{high}" y1="9" y2="9"/>')
        parts += [f'<line class="whisker" x1="{x}" x2="{x}" y1="5.5" y2="12.5"/>' for x in (low, high)]
    if one.chance is not None:
        x = _percent_of_scale(one.chance, one)
        parts.append(f'<line class="chance" x1="{x}" x2="{x}" y1="1" y2="17"/>')
    if one.baseline is not None:
        parts.append(f'<circle class="before" cx="{_percent_of_scale(one.baseline, one)}" cy="9" r="4"/>')
    return _wrap_svg('class="strip" width="100%" height="18"', parts)


def top_of_scale(values: Sequence[float]) -> float:
    """A round number in 0..1 that no value exceeds, for the end of a scale."""
    return next((most for most in (0.1, 0.2, 0.4, 0.6, 0.8) if max(values, default=1.0) <= most), 1.0)


def scale_axis(scale_end: float, steps: int = 4) -> Markup:
    """The scale under strips: a number every `steps`-th part of `scale_end`."""
    parts = []
    for step in range(steps + 1):
        anchor = "start" if step == 0 else "end" if step == steps else "middle"
        label = f"{scale_end * step / steps:.2g}"
        kind = ' class="minor"' if step % 2 else ""
        parts.append(f'<text{kind} x="{100 * step / steps:g}%" y="12" text-anchor="{anchor}">{label}</text>')
    return _wrap_svg('class="strip scale" width="100%" height="16"', parts)


def heat_table(table: Sequence[Sequence[float]], labels: Sequence[str]) -> Markup:
    """A square table of shares (0..1): the darker, the more; each cell says its names and share when pointed at."""
    n = len(labels)
    parts = []
    for row, name in enumerate(labels):
        y = HEAT_COLUMN_LABEL_HEIGHT + row * HEAT_CELL_SIZE
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
                HEAT_ROW_LABEL_WIDTH - 6, y + 14, name
            )
        )
        parts.append(
            Markup('<text transform="translate({} {}) rotate(-60)">{}</text>').format(
                HEAT_ROW_LABEL_WIDTH + row * HEAT_CELL_SIZE + 14, HEAT_COLUMN_LABEL_HEIGHT - 6, name
            )
        )
        parts += [
            _heat_table_cell(table[row][column], row, column, name, labels[column]) for column in range(n)
        ]
    size = f'width="{HEAT_ROW_LABEL_WIDTH + n * HEAT_CELL_SIZE + 50}" height="{HEAT_COLUMN_LABEL_HEIGHT + n * HEAT_CELL_SIZE + 4}"'
    return _wrap_svg(f'class="heat-table" {size}', parts)


def scatter_plot(points: Sequence[ScatterPoint]) -> Markup:
    """Points on a square; each carries its number, for a script to find."""
    marks = []
    for point in points:
        x, y = f"{point.x * SCATTER_WIDTH:.0f}", f"{point.y * SCATTER_HEIGHT:.0f}"
        data = f'class="{point.kind}" data-n="{point.number}"'
        if point.kind == "sketch":
            marks.append(f'<circle {data} cx="{x}" cy="{y}" r="7"/>')
        else:
            marks.append(
                f'<rect {data} x="{float(x) - 6:.0f}" y="{float(y) - 6:.0f}" width="12" height="12"/>'
            )
    return _wrap_svg(
        f'class="scatter" viewBox="{-SCATTER_MARGIN} {-SCATTER_MARGIN} {SCATTER_WIDTH + 2 * SCATTER_MARGIN} {SCATTER_HEIGHT + 2 * SCATTER_MARGIN}"',
        marks,
    )


def signed_strip(value: float, scale_end: float) -> Markup:
    """A bar to the right of the middle for what adds, to the left for what takes away; `scale_end` fills half."""
    share = 50 * min(abs(value) / scale_end, 1.0) if scale_end else 0.0
    kind, x = ("adds", 50.0) if value >= 0 else ("takes", 50.0 - share)
    bar = f'<rect class="{kind}" x="{x:.2f}%" y="4" width="{share:.2f}%" height="8" rx="1"/>'
    middle = '<line class="middle" x1="50%" x2="50%" y1="0" y2="16"/>'
    return _wrap_svg('class="strip signed" width="100%" height="16"', [bar, middle])


def two_curves(falling: Sequence[float], rising: Sequence[float]) -> Markup:
    """Two lines over the same steps on one scale, the first solid, the second dashed; words stand beside it."""
    low, high = min(*falling, *rising), max(*falling, *rising)
    span = (high - low) or 1.0

    def polyline_points(values: Sequence[float]) -> str:
        last = max(len(values) - 1, 1)
        return " ".join(
            f"{n / last * 100:.1f},{44 - (v - low) / span * 40:.1f}" for n, v in enumerate(values)
        )

    lines = [
        f'<polyline class="{kind}" points="{polyline_points(values)}"/>'
        for kind, values in (("falling", falling), ("rising", rising))
    ]
    return _wrap_svg('class="curves" viewBox="0 0 100 48" preserveAspectRatio="none"', lines)


def path_graph(nodes: Sequence[str], relations: Sequence[tuple[str, bool]], description: str) -> Markup:
    """Named boxes from top to bottom, joined by arrows that carry a relation's name.

    Args:
        nodes: n names.
        relations: n − 1 names, each with whether its arrow points down.
        description: the same in words, for who can't see it.
    """
    wide, box, gap = 230.0, 26.0, 34.0
    parts = []
    for n, node in enumerate(nodes):
        y = n * (box + gap) + 1
        kind = "end" if n in (0, len(nodes) - 1) else "between"
        shape = f'x="1" y="{y}" width="{wide - 2}" height="{box}" rx="8"'
        parts.append(Markup(f'<rect class="{kind}" {shape}/>'))  # numbers and a word of ours
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
                wide / 2, y + 17, _truncate_label(node, 30)
            )
        )
    for n, (relation, down) in enumerate(relations):
        top = n * (box + gap) + box + 1
        parts.append(_arrow_path(wide / 2 - 50, top, top + gap, down))
        parts.append(
            Markup('<text class="relation" x="{}" y="{}">{}</text>').format(
                wide / 2 - 38, top + gap / 2 + 4, _truncate_label(relation, 24)
            )
        )
    high = len(nodes) * (box + gap) - gap + 2
    size = f'class="path-graph" width="{wide:.0f}" height="{high:.0f}" viewBox="0 0 {wide:.0f} {high:.0f}"'
    label = Markup('<svg role="img" aria-label="{}" focusable="false" ').format(description)
    return label + Markup(f"{size}>") + Markup("").join(parts) + Markup("</svg>")


def _arrow_path(x: float, top: float, bottom: float, down: bool) -> Markup:
    tip, back = (bottom - 2, -6) if down else (top + 2, 6)
    head = f"M{x - 4:.0f} {tip + back:.0f}L{x:.0f} {tip:.0f}L{x + 4:.0f} {tip + back:.0f}"
    return Markup(f'<path class="arrow" d="M{x:.0f} {top + 2:.0f}V{bottom - 2:.0f}{head}"/>')


def _truncate_label(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _heat_table_cell(value: float, row: int, column: int, one: str, other: str) -> Markup:
    kind = "same" if row == column else "other"
    told = Markup("<title>{} → {}: {:.0%}</title>").format(one, other, value)
    place = f'x="{HEAT_ROW_LABEL_WIDTH + column * HEAT_CELL_SIZE}" y="{HEAT_COLUMN_LABEL_HEIGHT + row * HEAT_CELL_SIZE}" width="{HEAT_CELL_SIZE - 1}" height="{HEAT_CELL_SIZE - 1}"'
    return Markup(f'<rect class="{kind}" {place} style="--share:{value:.3f}">') + told + Markup("</rect>")


def _percent_of_scale(value: float, one: StripValue) -> str:
    return f"{100 * min(max(value / one.scale_end if one.scale_end else 0.0, 0.0), 1.0):.2f}%"


def _wrap_svg(attributes: str, parts: Sequence[str]) -> Markup:
    return Markup(
        f'<svg aria-hidden="true" focusable="false" {attributes}>{"".join(parts)}</svg>'
    )  # parts are escaped
