"""Line art of OpenMoji as polylines, redrawn as if by hand: bent, wobbly, with strokes that don't quite meet."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

PolylinePoints = npt.NDArray[np.float64]  # [n, 2]
OPENMOJI_CANVAS_SIDE = 72.0  # all lengths below are in these units; OpenMoji's lines are 2 wide
RESAMPLE_STEP = 1.0
JITTER_VERSION = "1"


@dataclass(frozen=True)
class SvgShape:
    """One stroke, or one filled area with its holes.

    Attributes:
        outlines: polylines, resampled about every RESAMPLE_STEP; several if the shape has holes.
        filled: whether it is an area; its outlines are then bent together, so that a ring stays a ring.
        width: of the stroke, 0 for none.
        paint: colour of the area or stroke.
        fill_rule: "nonzero" or "evenodd".
    """

    outlines: tuple[PolylinePoints, ...]
    filled: bool
    width: float
    paint: str
    fill_rule: str = "nonzero"


def parse_svg_shapes(svg: str) -> tuple[SvgShape, ...]:
    """The shapes of an SVG drawing, transforms applied; a path of several strokes gives one shape per stroke."""
    import svgelements

    shapes: list[SvgShape] = []
    for element in svgelements.SVG.parse(
        io.StringIO(svg), ppi=96, width=OPENMOJI_CANVAS_SIDE, height=OPENMOJI_CANVAS_SIDE
    ).elements():
        if isinstance(element, svgelements.Shape):
            shapes += _element_shapes(svgelements.Path(element), element)
    return tuple(shapes)


def _element_shapes(path: Any, element: Any) -> list[SvgShape]:
    outlines = tuple(
        line for line in (_resample_subpath(part) for part in path.as_subpaths()) if len(line) > 1
    )
    fill, stroke = _nearest_paint(element.fill), _nearest_paint(element.stroke)
    width = float(element.stroke_width or 0) if stroke else 0.0
    rule = str(element.values.get("fill-rule") or "nonzero")
    if not outlines:
        return []
    if fill:
        return [SvgShape(outlines, True, width, fill, rule)]
    return [SvgShape((line,), False, width, stroke, rule) for line in outlines] if stroke else []


def _nearest_paint(color: Any) -> str:
    """Black or white, whichever is nearer; empty for no paint."""
    if color is None or color.value is None or color.alpha == 0:
        return ""
    return "#000" if color.luminance < 0.5 else "#fff"


def _resample_subpath(part: Any) -> PolylinePoints:
    pieces = [piece for segment in part for piece in _sample_segment(segment)]
    if not pieces:
        return np.empty((0, 2))
    points = np.concatenate(pieces)
    return points[np.r_[True, np.abs(np.diff(points, axis=0)).sum(1) > 1e-6]]


def _sample_segment(segment: Any) -> list[PolylinePoints]:
    """Points along a Bézier curve of any degree; an arc is a few cubic curves, a move has no points."""
    kind = type(segment).__name__
    if kind == "Arc":
        return [points for cubic in segment.as_cubic_curves() for points in _sample_segment(cubic)]
    names = {
        "Line": ("start", "end"),
        "Close": ("start", "end"),
        "QuadraticBezier": ("start", "control", "end"),
        "CubicBezier": ("start", "control1", "control2", "end"),
    }.get(kind, ())
    corners = [getattr(segment, name) for name in names]
    if not corners or any(corner is None for corner in corners):
        return []
    return [_sample_bezier(np.array([(corner.x, corner.y) for corner in corners]))]


def _sample_bezier(corners: PolylinePoints) -> PolylinePoints:
    length = np.hypot(*np.diff(corners, axis=0).T).sum()
    return np.asarray(
        _bernstein_weights(len(corners) - 1, max(2, math.ceil(length / RESAMPLE_STEP))) @ corners
    )


@lru_cache(maxsize=512)
def _bernstein_weights(degree: int, count: int) -> PolylinePoints:
    """Weights [count, degree + 1] of a Bézier curve's corners at evenly spaced parameters."""
    t = np.linspace(0, 1, count)
    return np.stack([math.comb(degree, i) * t**i * (1 - t) ** (degree - i) for i in range(degree + 1)], 1)


def redraw_shapes_by_hand(shapes: Sequence[SvgShape], seed: int, strength: float = 1.0) -> str:
    """An SVG of the shapes as a person would draw them; equal for equal seeds.

    The page is tilted, stretched and bent by a few long waves, each stroke is displaced by waves of its own (so
    corners open and circles don't quite close), and the pen's width differs between drawings.

    Args:
        shapes: what to draw.
        seed: decides all random choices.
        strength: of the distortion; 0 redraws the lines exactly, 1 is the default.
    """
    random = np.random.default_rng(seed)
    warp = _PageWarp(random, strength)
    pen = 1 + strength * random.uniform(-0.35, 0.25)
    body = "".join(_format_svg_element(shape, warp, pen, random, strength) for shape in shapes)
    side = f"{OPENMOJI_CANVAS_SIDE:g}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side} {side}">{body}</svg>'


class _PageWarp:
    """Tilt, stretch and waves 30 to 70 units long: one smooth map of the page."""

    def __init__(self, random: np.random.Generator, strength: float) -> None:
        angle, shear = random.normal(0, [0.09, 0.06]) * strength
        stretch = 1 + random.uniform(-0.12, 0.04, 2) * strength
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        self.matrix = turn @ np.array([[1, shear], [0, 1]]) @ np.diag(stretch)
        direction = random.uniform(0, 2 * math.pi, 4)
        self.waves = (
            np.stack([np.cos(direction), np.sin(direction)]) * 2 * math.pi / random.uniform(30, 70, 4)
        )
        self.phase = random.uniform(0, 2 * math.pi, 4)
        self.push = random.normal(0, 0.7 * strength, (4, 2))

    def __call__(self, points: PolylinePoints) -> PolylinePoints:
        waves = np.sin(points @ self.waves + self.phase) @ self.push
        return np.asarray(
            (points - OPENMOJI_CANVAS_SIDE / 2) @ self.matrix.T + OPENMOJI_CANVAS_SIDE / 2 + waves
        )


def _wander_offsets(points: PolylinePoints, random: np.random.Generator, strength: float) -> PolylinePoints:
    """Offsets [n, 2] of a stroke's points: three waves 12 to 50 units long along the line, and a shift."""
    along = np.r_[0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
    waves = np.sin(
        along[:, None] * 2 * math.pi / random.uniform(12, 50, 3) + random.uniform(0, 2 * math.pi, 3)
    )
    # A short stroke, such as a whisker or an eye, is drawn more precisely than a long one.
    scale = min(1.0, 0.35 + along[-1] / 40)
    push = random.normal(0, 0.38 * strength * scale, (3, 2))
    return np.asarray(waves @ push + random.normal(0, 0.4 * strength * scale, 2))


def _format_svg_element(
    shape: SvgShape, warp: _PageWarp, pen: float, random: np.random.Generator, strength: float
) -> str:
    if shape.filled:
        shift = random.normal(0, 0.3 * strength, 2)
        outline = "".join(f"M{_format_svg_points(warp(line) + shift)}Z" for line in shape.outlines)
        stroke = f' stroke="{shape.paint}" stroke-width="{shape.width:.2f}"' if shape.width else ""
        return f'<path d="{outline}" fill="{shape.paint}" fill-rule="{shape.fill_rule}"{stroke}/>'
    width = shape.width * pen * (1 + 0.08 * strength * random.standard_normal())
    line = warp(shape.outlines[0])
    points = _format_svg_points(line + _wander_offsets(line, random, strength))
    return (
        f'<polyline points="{points}" fill="none" stroke="{shape.paint}" stroke-width="{width:.2f}" '
        'stroke-linecap="round" stroke-linejoin="round"/>'
    )


def _format_svg_points(points: PolylinePoints) -> str:
    return " ".join(f"{value:.2f}" for value in points.ravel().tolist())
