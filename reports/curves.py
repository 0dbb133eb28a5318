"""Curves over numbers of labels as inline SVG: the axis is linear from 0 to the smallest number, logarithmic beyond.

The chart stretches with its column and no letter shrinks: across, everything is placed in per cent. Curves differ in
colour, dash and mark, so that neither colour nor print is needed to tell them apart.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from ssl_sbir.reports.charts import top_of_scale

HIGH, TOP, BOTTOM = 380, 14, 46  # pixels: the chart, and above and below its field
LEFT, RIGHT = 9.0, 97.0  # per cent
SHAPES = (
    '<circle r="5"/>',
    '<rect x="-4.5" y="-4.5" width="9" height="9"/>',
    '<path d="M0-6L5.5 4.5H-5.5Z"/>',
    '<path d="M0-6.5L6.5 0 0 6.5-6.5 0Z"/>',
    '<path d="M0 6L5.5-4.5H-5.5Z"/>',
)


@dataclass(frozen=True)
class Dot:
    """A point of a curve.

    Attributes:
        labels: how many.
        value: 0..1.
        low: start of its interval.
        high: its end.
        told: in words, for who points at it.
        whole: False where some of its runs failed.
    """

    labels: float
    value: float
    low: float
    high: float
    told: str
    whole: bool = True


@dataclass(frozen=True)
class Curve:
    """A line through dots; `gaps` are the numbers of labels at which every run failed."""

    name: str
    dots: Sequence[Dot]
    gaps: Sequence[float] = field(default_factory=tuple)


def label_chart(
    curves: Sequence[Curve], first: float, ticks: Sequence[tuple[float, str]], told: str
) -> Markup:
    """The curves on one axis of labels.

    Args:
        curves: at most five are told apart by mark and dash; further ones repeat them.
        first: the smallest positive number of labels.
        ticks: numbers with what to write below them.
        told: the chart in words, for who can't see it.
    """
    last = max([first, *(dot.labels for one in curves for dot in one.dots), *(n for n, _ in ticks)])
    most = top_of_scale([dot.high for one in curves for dot in one.dots])
    field_ = _Field(first, last, most)
    parts = [*_grid(field_, ticks)]
    for number, one in enumerate(curves):
        shift = (number - (len(curves) - 1) / 2) * 0.5
        parts.append(Markup('<g class="curve c{}">').format(number % len(SHAPES) + 1))
        parts += [*_line(field_, one.dots, shift), *_dots(field_, one.dots, shift, number)]
        parts += [_gap(field_, labels, shift, one.name) for labels in one.gaps]
        parts.append(Markup("</g>"))
    label = Markup('<svg class="label-chart" width="100%" height="{}" role="img" aria-label="{}">').format(
        HIGH, told
    )
    return label + Markup("").join(parts) + Markup("</svg>")


def mark(number: int) -> Markup:
    """The mark and dash of a curve, for a legend."""
    line = '<line x1="1" x2="33" y1="8" y2="8"/>'
    shape = f'<g transform="translate(17 8)">{SHAPES[number % len(SHAPES)]}</g>'
    kind = f'class="curve c{number % len(SHAPES) + 1}" aria-hidden="true" width="34" height="16"'
    return Markup(f"<svg {kind}>{line}{shape}</svg>")


@dataclass(frozen=True)
class _Field:
    first: float
    last: float
    most: float

    def x(self, labels: float, shift: float = 0.0) -> str:
        share = self._place(labels) / max(self._place(self.last), 1.0)
        return f"{LEFT + 2 + (RIGHT - LEFT - 4) * share + shift:.2f}%"

    def y(self, value: float) -> str:
        return f"{TOP + (HIGH - TOP - BOTTOM) * (1 - value / self.most):.1f}"

    def _place(self, labels: float) -> float:
        return labels / self.first if labels < self.first else 1 + math.log10(labels / self.first)


def _grid(place: _Field, ticks: Sequence[tuple[float, str]]) -> list[Markup]:
    parts = []
    for step in range(5):
        value = place.most * step / 4
        y = place.y(value)
        parts.append(Markup(f'<line class="grid" x1="{LEFT}%" x2="{RIGHT}%" y1="{y}" y2="{y}"/>'))
        parts.append(Markup(f'<text x="0" y="{float(y) + 4:.1f}">{value:.2g}</text>'))
    for number, (labels, name) in enumerate(ticks):
        x, low = place.x(labels), HIGH - BOTTOM
        kind = ' class="minor"' if number and (len(ticks) - 1 - number) % 2 else ""
        parts.append(Markup(f'<line class="tick" x1="{x}" x2="{x}" y1="{low}" y2="{low + 5}"/>'))
        parts.append(
            Markup('<text{} x="{}" y="{}" text-anchor="middle">{}</text>').format(
                Markup(kind), x, low + 20, name
            )
        )
    if (
        ticks and ticks[0][0] == 0
    ):  # a wavy break would say less than a plain line: up to here the axis is linear
        x = place.x(place.first)
        parts.append(Markup(f'<line class="turn" x1="{x}" x2="{x}" y1="{TOP}" y2="{HIGH - BOTTOM}"/>'))
    return parts


def _line(place: _Field, dots: Sequence[Dot], shift: float) -> list[Markup]:
    ends = [(place.x(dot.labels, shift), place.y(dot.value)) for dot in dots]
    return [
        Markup(f'<line class="path" x1="{x}" y1="{y}" x2="{u}" y2="{v}"/>')
        for (x, y), (u, v) in itertools.pairwise(ends)
    ]


def _dots(place: _Field, dots: Sequence[Dot], shift: float, number: int) -> list[Markup]:
    parts = []
    for dot in dots:
        x, low, high = place.x(dot.labels, shift), place.y(dot.low), place.y(dot.high)
        parts.append(Markup(f'<line class="whisker" x1="{x}" x2="{x}" y1="{low}" y2="{high}"/>'))
        kind = "" if dot.whole else ' class="part"'
        shape = Markup(f"<g{kind}>{SHAPES[number % len(SHAPES)]}<title>") + dot.told + Markup("</title></g>")
        parts.append(
            Markup(f'<svg x="{x}" y="{place.y(dot.value)}" overflow="visible">') + shape + Markup("</svg>")
        )
    return parts


def _gap(place: _Field, labels: float, shift: float, name: str) -> Markup:
    told = Markup("<title>{}: no result with {:,.0f} labels</title>").format(name, labels)
    cross = Markup('<g class="gap"><path d="M-5-5L5 5M5-5L-5 5"/>') + told + Markup("</g>")
    return (
        Markup(f'<svg x="{place.x(labels, shift)}" y="{HIGH - BOTTOM - 10}" overflow="visible">')
        + cross
        + Markup("</svg>")
    )
