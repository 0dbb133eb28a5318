"""Charts as inline SVG in the page's colours: strips on a common scale, a heat map, a scatter plot.

Strips stretch with their column and never shrink text: labels and figures are text of the page around them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

HEAT_CELL_SIZE = 20  # pixels
HEAT_ROW_LABEL_WIDTH = 128  # pixels
HEAT_COLUMN_LABEL_HEIGHT = 96  # pixels
SCATTER_WIDTH, SCATTER_HEIGHT, SCATTER_MARGIN = 1500, 1000, 20  # SVG units


@dataclass(frozen=True)
class StripValue:
    """One value on a scale from 0 to `scale_end`.

    Attributes:
        value: where the bar ends.
        scale_end: where the scale ends.
        low: lower end of an interval around the value.
        high: its upper end.
        baseline: an earlier value to compare with, marked by a ring.
        chance: the value of chance, marked by a line.
    """

    value: float
    scale_end: float = 1.0
    low: float | None = None
    high: float | None = None
    baseline: float | None = None
    chance: float | None = None


@dataclass(frozen=True)
class ScatterPoint:
    """A point of a scatter plot: its position (0..1 each, from the upper left), kind (a CSS class) and number."""

    x: float
    y: float
    kind: str
    number: int


def strip_chart(one: StripValue) -> Markup:
    """A bar with its interval, ring and chance line, as wide as its container."""
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
    return next((end for end in (0.1, 0.2, 0.4, 0.6, 0.8) if max(values, default=1.0) <= end), 1.0)


def scale_axis(scale_end: float, steps: int = 4) -> Markup:
    """The scale of strips: `steps` + 1 evenly spaced numbers from 0 to `scale_end`."""
    parts = []
    for step in range(steps + 1):
        anchor = "start" if step == 0 else "end" if step == steps else "middle"
        label = f"{scale_end * step / steps:.2g}"
        kind = ' class="minor"' if step % 2 else ""
        parts.append(f'<text{kind} x="{100 * step / steps:g}%" y="12" text-anchor="{anchor}">{label}</text>')
    return _wrap_svg('class="strip scale" width="100%" height="16"', parts)


def heat_table(table: Sequence[Sequence[float]], labels: Sequence[str]) -> Markup:
    """A square table of shares (0..1), darker for larger; each cell has a tooltip with its names and share."""
    n = len(labels)
    parts: list[Markup] = []
    for row, name in enumerate(labels):
        parts += _heat_table_labels(row, name)
        parts += [
            _heat_table_cell(table[row][column], row, column, name, labels[column]) for column in range(n)
        ]
    width = HEAT_ROW_LABEL_WIDTH + n * HEAT_CELL_SIZE + 50
    height = HEAT_COLUMN_LABEL_HEIGHT + n * HEAT_CELL_SIZE + 4
    return _wrap_svg(f'class="heat-table" width="{width}" height="{height}"', parts)


def scatter_plot(points: Sequence[ScatterPoint]) -> Markup:
    """A scatter plot; each point carries its number in `data-n`, for a script."""
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
    width, height = SCATTER_WIDTH + 2 * SCATTER_MARGIN, SCATTER_HEIGHT + 2 * SCATTER_MARGIN
    box = f"{-SCATTER_MARGIN} {-SCATTER_MARGIN} {width} {height}"
    return _wrap_svg(f'class="scatter" viewBox="{box}"', marks)


def signed_strip(value: float, scale_end: float) -> Markup:
    """A bar from the middle to the right for positive values, to the left for negative; `scale_end` fills half."""
    share = 50 * min(abs(value) / scale_end, 1.0) if scale_end else 0.0
    kind, x = ("adds", 50.0) if value >= 0 else ("takes", 50.0 - share)
    bar = f'<rect class="{kind}" x="{x:.2f}%" y="4" width="{share:.2f}%" height="8" rx="1"/>'
    middle = '<line class="middle" x1="50%" x2="50%" y1="0" y2="16"/>'
    return _wrap_svg('class="strip signed" width="100%" height="16"', [bar, middle])


def two_curves(falling: Sequence[float], rising: Sequence[float]) -> Markup:
    """Two lines over the same steps on one scale, the first solid, the second dashed; without labels."""
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
    """Named boxes from top to bottom, joined by arrows that are labelled with a relation's name.

    Args:
        nodes: n names.
        relations: n − 1 names, each with whether its arrow points down.
        description: text alternative for screen readers.
    """
    wide, box, gap = 230.0, 26.0, 34.0
    parts = []
    for n, node in enumerate(nodes):
        y = n * (box + gap) + 1
        kind = "end" if n in (0, len(nodes) - 1) else "between"
        shape = f'x="1" y="{y}" width="{wide - 2}" height="{box}" rx="8"'
        parts.append(Markup(f'<rect class="{kind}" {shape}/>'))
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


def _heat_table_labels(row: int, name: str) -> list[Markup]:
    offset = row * HEAT_CELL_SIZE + 14
    of_row = Markup('<text x="{}" y="{}" text-anchor="end">{}</text>').format(
        HEAT_ROW_LABEL_WIDTH - 6, HEAT_COLUMN_LABEL_HEIGHT + offset, name
    )
    of_column = Markup('<text transform="translate({} {}) rotate(-60)">{}</text>').format(
        HEAT_ROW_LABEL_WIDTH + offset, HEAT_COLUMN_LABEL_HEIGHT - 6, name
    )
    return [of_row, of_column]


def _heat_table_cell(value: float, row: int, column: int, one: str, other: str) -> Markup:
    kind = "same" if row == column else "other"
    x, y = HEAT_ROW_LABEL_WIDTH + column * HEAT_CELL_SIZE, HEAT_COLUMN_LABEL_HEIGHT + row * HEAT_CELL_SIZE
    shape = f'x="{x}" y="{y}" width="{HEAT_CELL_SIZE - 1}" height="{HEAT_CELL_SIZE - 1}"'
    title = Markup("<title>{} → {}: {:.0%}</title>").format(one, other, value)
    return Markup(f'<rect class="{kind}" {shape} style="--share:{value:.3f}">') + title + Markup("</rect>")


def _percent_of_scale(value: float, one: StripValue) -> str:
    return f"{100 * min(max(value / one.scale_end if one.scale_end else 0.0, 0.0), 1.0):.2f}%"


def _wrap_svg(attributes: str, parts: Sequence[str]) -> Markup:
    # the parts are escaped already
    return Markup(f'<svg aria-hidden="true" focusable="false" {attributes}>{"".join(parts)}</svg>')
