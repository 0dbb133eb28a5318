"""Curves over numbers of labels as inline SVG: the axis is linear from 0 to the smallest number, logarithmic beyond.

The chart stretches with its column without shrinking text: horizontal positions are percentages. Curves differ in
colour, dash and mark, so that they are distinguishable without colour and in print.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from ssl_sbir.reports.svg_charts import top_of_scale

CHART_HEIGHT, CHART_TOP, CHART_BOTTOM = 380, 14, 46  # pixels: of the chart and its margins
CHART_LEFT, CHART_RIGHT = 9.0, 97.0  # per cent
MARK_SHAPES = (
    '<circle r="5"/>',
    '<rect x="-4.5" y="-4.5" width="9" height="9"/>',
    '<path d="M0-6L5.5 4.5H-5.5Z"/>',
    '<path d="M0-6.5L6.5 0 0 6.5-6.5 0Z"/>',
    '<path d="M0 6L5.5-4.5H-5.5Z"/>',
)


@dataclass(frozen=True)
class CurvePoint:
    """A point of a curve.

    Attributes:
        labels: number of labels.
        value: 0..1.
        low: lower end of its interval.
        high: its upper end.
        description: text of its tooltip.
        complete: False if some of its runs failed.
    """

    labels: float
    value: float
    low: float
    high: float
    description: str
    complete: bool = True


@dataclass(frozen=True)
class Curve:
    """A line through points; `gaps` are the numbers of labels at which all runs failed."""

    name: str
    points: Sequence[CurvePoint]
    gaps: Sequence[float] = field(default_factory=tuple)


def label_chart(
    curves: Sequence[Curve], first: float, ticks: Sequence[tuple[float, str]], description: str
) -> Markup:
    """The curves on one axis of labels.

    Args:
        curves: marks and dashes repeat after five.
        first: the smallest positive number of labels.
        ticks: numbers with the text below them.
        description: text alternative for screen readers.
    """
    last = max([first, *(point.labels for one in curves for point in one.points), *(n for n, _ in ticks)])
    area = _PlotArea(first, last, top_of_scale([point.high for one in curves for point in one.points]))
    parts = _grid_lines(area, ticks)
    for number, one in enumerate(curves):
        shift = (number - (len(curves) - 1) / 2) * 0.5
        parts.append(Markup('<g class="curve c{}">').format(number % len(MARK_SHAPES) + 1))
        parts += [*_curve_lines(area, one.points, shift), *_curve_marks(area, one.points, shift, number)]
        parts += [_gap_mark(area, labels, shift, one.name) for labels in one.gaps]
        parts.append(Markup("</g>"))
    label = Markup('<svg class="label-chart" width="100%" height="{}" role="img" aria-label="{}">').format(
        CHART_HEIGHT, description
    )
    return label + Markup("").join(parts) + Markup("</svg>")


def legend_mark(number: int) -> Markup:
    """The mark and dash of a curve, for the legend."""
    line = '<line x1="1" x2="33" y1="8" y2="8"/>'
    shape = f'<g transform="translate(17 8)">{MARK_SHAPES[number % len(MARK_SHAPES)]}</g>'
    kind = f'class="curve c{number % len(MARK_SHAPES) + 1}" aria-hidden="true" width="34" height="16"'
    return Markup(f"<svg {kind}>{line}{shape}</svg>")


@dataclass(frozen=True)
class _PlotArea:
    first: float
    last: float
    scale_end: float

    def x_percent(self, labels: float, shift: float = 0.0) -> str:
        share = self._axis_position(labels) / max(self._axis_position(self.last), 1.0)
        return f"{CHART_LEFT + 2 + (CHART_RIGHT - CHART_LEFT - 4) * share + shift:.2f}%"

    def y_pixels(self, value: float) -> str:
        return f"{CHART_TOP + (CHART_HEIGHT - CHART_TOP - CHART_BOTTOM) * (1 - value / self.scale_end):.1f}"

    def _axis_position(self, labels: float) -> float:
        return labels / self.first if labels < self.first else 1 + math.log10(labels / self.first)


def _grid_lines(area: _PlotArea, ticks: Sequence[tuple[float, str]]) -> list[Markup]:
    parts = []
    for step in range(5):
        value = area.scale_end * step / 4
        y = area.y_pixels(value)
        parts.append(Markup(f'<line class="grid" x1="{CHART_LEFT}%" x2="{CHART_RIGHT}%" y1="{y}" y2="{y}"/>'))
        parts.append(Markup(f'<text x="0" y="{float(y) + 4:.1f}">{value:.2g}</text>'))
    for number, (labels, name) in enumerate(ticks):
        x, low = area.x_percent(labels), CHART_HEIGHT - CHART_BOTTOM
        kind = ' class="minor"' if number and (len(ticks) - 1 - number) % 2 else ""
        parts.append(Markup(f'<line class="tick" x1="{x}" x2="{x}" y1="{low}" y2="{low + 5}"/>'))
        parts.append(
            Markup('<text{} x="{}" y="{}" text-anchor="middle">{}</text>').format(
                Markup(kind), x, low + 20, name
            )
        )
    if ticks and ticks[0][0] == 0:  # marks where the axis turns from linear to logarithmic
        x = area.x_percent(area.first)
        parts.append(
            Markup(
                f'<line class="turn" x1="{x}" x2="{x}" y1="{CHART_TOP}" y2="{CHART_HEIGHT - CHART_BOTTOM}"/>'
            )
        )
    return parts


def _curve_lines(area: _PlotArea, points: Sequence[CurvePoint], shift: float) -> list[Markup]:
    ends = [(area.x_percent(point.labels, shift), area.y_pixels(point.value)) for point in points]
    return [
        Markup(f'<line class="path" x1="{x}" y1="{y}" x2="{u}" y2="{v}"/>')
        for (x, y), (u, v) in itertools.pairwise(ends)
    ]


def _curve_marks(area: _PlotArea, points: Sequence[CurvePoint], shift: float, number: int) -> list[Markup]:
    parts = []
    for point in points:
        x, low, high = area.x_percent(point.labels, shift), *map(area.y_pixels, (point.low, point.high))
        parts.append(Markup(f'<line class="whisker" x1="{x}" x2="{x}" y1="{low}" y2="{high}"/>'))
        kind = "" if point.complete else ' class="part"'
        shape = (
            Markup(f"<g{kind}>{MARK_SHAPES[number % len(MARK_SHAPES)]}<title>")
            + point.description
            + Markup("</title></g>")
        )
        parts.append(
            Markup(f'<svg x="{x}" y="{area.y_pixels(point.value)}" overflow="visible">')
            + shape
            + Markup("</svg>")
        )
    return parts


def _gap_mark(area: _PlotArea, labels: float, shift: float, name: str) -> Markup:
    title = Markup("<title>{}: no result with {:,.0f} labels</title>").format(name, labels)
    cross = Markup('<g class="gap"><path d="M-5-5L5 5M5-5L-5 5"/>') + title + Markup("</g>")
    return (
        Markup(
            f'<svg x="{area.x_percent(labels, shift)}" y="{CHART_HEIGHT - CHART_BOTTOM - 10}" overflow="visible">'
        )
        + cross
        + Markup("</svg>")
    )
