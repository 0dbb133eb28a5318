"""Tests every heat map method of `explain` against random maps and edge maps, on a trained run.

    python scripts/study_faithfulness.py RUN --data folder:sketchy-sample/ --write docs/faithfulness.md

Takes drawings of unseen classes (evenly over the classes), each with its first results. For each map it computes the
area between insertion and deletion curve, minus that of random maps and of an edge map of the same resolution, and
minus that of the finest edge map. Intervals are 95 % bootstrap intervals over drawings, since pairs of one drawing
are not independent. It also measures how maps change when weights are shuffled and when images shift by a few
pixels, and the largest error of the region pairs' sum and of the integrals. 200 pairs at 96 px take five minutes on
one free core; Ctrl-C ends it early with tables of the finished drawings. Prints the tables, and writes them into a
Markdown file between two marks.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ssl_sbir.data.decode_image import decode_image
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.explain.attribution.encoded_images import EncodedImages, encode_images
from ssl_sbir.explain.attribution.heat_maps import DEFAULT_METHOD_MAPS, METHOD_MAPS, SideMaps, choose_methods
from ssl_sbir.explain.faithfulness.faithfulness_tests import (
    BaselineAreas,
    FaithfulnessCheck,
    evaluate_faithfulness,
)
from ssl_sbir.explain.faithfulness.stability import shift_stability
from ssl_sbir.explain.faithfulness.weight_randomization import randomization_agreement
from ssl_sbir.explain.run.explained_encoder import load_explained_model
from ssl_sbir.explain.run.explained_gallery import best_indices
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.files import write_atomic
from ssl_sbir.progress import show_progress

PAGE_START_MARK, PAGE_END_MARK = "<!-- study: start -->", "<!-- study: end -->"
SLOW_METHODS = ("occlusion", "integrated")


@dataclass(frozen=True)
class FaithfulnessRow:
    """One method on one side: gains over random and edge maps (mean, low, high), and shares of maps that beat them."""

    method: str
    side: str
    maps: int
    over_random: tuple[float, float, float]
    over_edges: tuple[float, float, float]
    over_fine: tuple[float, float, float]
    beat_random: float
    beat_edges: float

    @property
    def is_better(self) -> bool:
        """Whether the intervals of the gains over random and edge maps of its resolution lie above zero."""
        return min(self.over_random[1], self.over_edges[1]) > 0


@dataclass(frozen=True)
class MapCheck:
    """A check with the area of the finest edge map."""

    check: FaithfulnessCheck
    finest_edges: float


@dataclass
class CompletenessErrors:
    """The largest errors so far: of the sum of region pairs, and of the sums of integrated gradients."""

    regions: float = 0.0
    integral: float = 0.0

    def record_maps(self, method: str, maps: SideMaps, ours: EncodedImages, theirs: EncodedImages) -> None:
        """Updates the errors with the maps of one drawing."""
        if method == "regions" and maps.sketch is not None:
            scores = torch.cosine_similarity(ours.embedding, theirs.embedding)
            self.regions = max(self.regions, _largest_absolute(maps.sketch.sum((1, 2)) - scores))
        for error in (maps.sketch_error, maps.photo_error):
            if error is not None:
                self.integral = max(self.integral, _largest_absolute(error))


def _largest_absolute(values: Tensor) -> float:
    return float(values.abs().max())


def select_drawings(explainer: Explainer, classes: tuple[str, ...], skip: int, count: int) -> list[int]:
    """Rows of drawings, evenly over the classes, after the first `skip` of them."""
    lists = [explainer.manifest.find_rows(Domain.SKETCH, [name]).tolist() for name in classes]
    draw = np.random.default_rng(0)
    mixed = [draw.permutation(rows).tolist() for rows in lists if rows]
    turns = max(len(rows) for rows in mixed)
    return [rows[turn] for turn in range(turns) for rows in mixed if turn < len(rows)][skip : skip + count]


def drawing_and_results(explainer: Explainer, row: int, results: int) -> tuple[Tensor, Tensor]:
    """The drawing [3, h, w] and its first results [k, 3, h, w]."""
    size, fit = explainer.encoder.preprocess.size, explainer.encoder.preprocess.fit
    pixels = decode_image(explainer.manifest.source, explainer.manifest.keys[row], size, fit)
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
    sketch = encode_images(explainer.encoder, image[None], Domain.SKETCH)
    indices = best_indices(explainer.gallery.score_photos(sketch.embedding[0]), results)
    return image, explainer.gallery.load_images(indices)


def check_query_maps(
    explainer: Explainer,
    image: Tensor,
    photos: Tensor,
    methods: tuple[str, ...],
    draws: int,
    errors: CompletenessErrors,
) -> list[MapCheck]:
    """All checks of one drawing and its results; updates `errors`."""
    ours = encode_images(explainer.encoder, image[None], Domain.SKETCH)
    theirs = encode_images(explainer.encoder, photos, Domain.PHOTO)
    areas = BaselineAreas(ours, theirs.embedding, draws), BaselineAreas(theirs, ours.embedding, draws)
    checks: list[MapCheck] = []
    for method in methods:
        maps = METHOD_MAPS[method](ours, theirs)
        errors.record_maps(method, maps, ours, theirs)
        for side, values, other, baselines in (
            (ours, maps.sketch, theirs.embedding, areas[0]),
            (theirs, maps.photo, ours.embedding, areas[1]),
        ):
            if values is not None:
                evaluated = evaluate_faithfulness(method, side, values, other, baselines)
                checks += [
                    MapCheck(check, finest)
                    for check, finest in zip(evaluated, baselines.edge_areas().tolist(), strict=True)
                ]
    return checks


def grouped_bootstrap_interval(groups: list[list[float]], draws: int = 4000) -> tuple[float, float, float]:
    """The mean and its 95 % bootstrap interval (mean, low, high), resampling whole groups."""
    sums = np.array([sum(group) for group in groups])
    counts = np.array([len(group) for group in groups])
    chosen = np.random.default_rng(0).integers(len(groups), size=(draws, len(groups)))
    means = sums[chosen].sum(1) / counts[chosen].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(sums.sum() / counts.sum()), float(low), float(high)


def build_faithfulness_rows(checks_by_query: list[list[MapCheck]]) -> list[FaithfulnessRow]:
    """One row for each method and side, and one for each method over both sides."""
    groups: dict[tuple[str, str], list[list[MapCheck]]] = defaultdict(lambda: [[] for _ in checks_by_query])
    for number, all_tested in enumerate(checks_by_query):
        for it in all_tested:
            groups[it.check.method, it.check.side][number].append(it)
            groups[it.check.method, "both"][number].append(it)
    return [_build_faithfulness_row(method, side, lists) for (method, side), lists in groups.items()]


def _build_faithfulness_row(method: str, side: str, groups: list[list[MapCheck]]) -> FaithfulnessRow:
    flat = [it.check for group in groups for it in group]
    return FaithfulnessRow(
        method,
        side,
        len(flat),
        grouped_bootstrap_interval([[it.check.area - it.check.random for it in group] for group in groups]),
        grouped_bootstrap_interval([[it.check.area - it.check.edges for it in group] for group in groups]),
        grouped_bootstrap_interval([[it.check.area - it.finest_edges for it in group] for group in groups]),
        float(np.mean([check.beats_random for check in flat])),
        float(np.mean([check.beats_edges for check in flat])),
    )


def sanity_correlations(
    explainer: Explainer, pictures: list[tuple[Tensor, Tensor]], method: str
) -> dict[str, float | None]:
    """Mean rank correlation after half and all layers are shuffled, and after small shifts of the images."""
    half: list[float] = []
    whole: list[float] = []
    shifted: list[float] = []
    for image, photos in pictures:
        stages = randomization_agreement(explainer.encoder, image, photos, method, stages=2)
        half += [value for value in (stages[0].drawing, stages[0].photo) if value is not None]
        whole += [value for value in (stages[-1].drawing, stages[-1].photo) if value is not None]
        shifted += [
            value for value in shift_stability(explainer.encoder, image, photos, method) if value is not None
        ]
    return {
        name: float(np.mean(values)) if values else None
        for name, values in (("half", half), ("all", whole), ("shifted", shifted))
    }


def format_faithfulness_tables(
    rows: list[FaithfulnessRow], correlations: dict[str, dict[str, float | None]], head: str
) -> str:
    """The tables of the study."""
    lines = [
        head,
        "",
        "| maps | side | over random maps | over edge maps | over the finest edge map | beat random | beat edges "
        "| better than both | default |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda it: (it.side != "both", it.side, -it.over_random[0])):
        gains = " | ".join(
            f"{m:+.3f} ({low:+.3f} to {high:+.3f})"
            for m, low, high in (row.over_random, row.over_edges, row.over_fine)
        )
        lines.append(
            f"| {row.method} | {row.side} | {gains} | {row.beat_random:.0%} | {row.beat_edges:.0%} | "
            f"{'yes' if row.is_better else 'no'} | {_default_display(row)} |"
        )
    lines += [
        "",
        "| maps | last half of the layers shuffled | all layers shuffled | images shifted by 4 % |",
        "|---|---|---|---|",
    ]
    for method, values in correlations.items():
        shown = " | ".join("–" if value is None else f"{value:.2f}" for value in values.values())
        lines.append(f"| {method} | {shown} |")
    return "\n".join(lines) + "\n"


def _default_display(row: FaithfulnessRow) -> str:
    """Whether pages show these maps by default."""
    if row.method not in DEFAULT_METHOD_MAPS or row.side == "drawing":
        return "off"
    return "on" if row.side == "photo" else "on photos"


def main() -> None:
    """Prints the tables, and writes them to the files given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--data", required=True)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument(
        "--skip", type=int, default=0, help="number of drawings to skip, such as those of an earlier study"
    )
    parser.add_argument("--results", type=int, default=4, help="pairs per drawing")
    parser.add_argument("--methods", default="gradcam,regions,occlusion,strokes,integrated")
    parser.add_argument("--draws", type=int, default=3, help="random maps per check")
    parser.add_argument(
        "--behaviour", type=int, default=8, help="drawings for the tests of shuffled weights and shifts"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", type=Path, help="Markdown file that holds the two marks")
    parser.add_argument("--json", type=Path, help="file for all rows")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    manifest = open_data(options.data)
    model = load_explained_model(options.run, manifest)
    classes = model.gallery_classes(None)
    explainer = Explainer(model.encoder, manifest, classes)
    queries = select_drawings(explainer, tuple(classes or manifest.classes), options.skip, options.queries)
    start = time.perf_counter()
    pictures = [drawing_and_results(explainer, row, options.results) for row in queries]
    methods = _supported_methods(explainer, *pictures[0], options.methods)
    some = pictures[: options.behaviour]
    correlations = {
        method: sanity_correlations(explainer, some[:2] if method in SLOW_METHODS else some, method)
        for method in methods
    }
    checks, errors = _check_all_queries(explainer, pictures, methods, options.draws)
    rows, size = build_faithfulness_rows(checks), model.encoder.preprocess.size
    head = (
        f"{len(checks)} drawings × {options.results} results = {len(checks) * options.results} pairs of "
        f"{manifest.name.rsplit('/', 1)[-1]} ({model.split.name if model.split else 'all classes'}, unseen "
        f"classes), {size} px; {options.draws} random maps per check. Last table: mean rank correlation "
        f"with the original maps, {len(some)} drawings ({min(2, len(some))} for the slow methods). Largest error of "
        f"the region pairs' sum: {errors.regions:.1e}; of the integrals: {errors.integral:.1e}."
    )
    text = format_faithfulness_tables(rows, correlations, head)
    print(text)
    print(f"{time.perf_counter() - start:.0f} s")
    if options.json:
        facts = {"rows": [vars(row) for row in rows], "likeness": correlations}
        write_atomic(options.json, json.dumps(facts, indent=1) + "\n")
    if options.write:
        before, _, rest = options.write.read_text(encoding="utf-8").partition(PAGE_START_MARK)
        write_atomic(
            options.write,
            f"{before}{PAGE_START_MARK}\n{text}{PAGE_END_MARK}{rest.partition(PAGE_END_MARK)[2]}",
        )


def _check_all_queries(
    explainer: Explainer, pictures: list[tuple[Tensor, Tensor]], methods: tuple[str, ...], draws: int
) -> tuple[list[list[MapCheck]], CompletenessErrors]:
    checks: list[list[MapCheck]] = []
    errors = CompletenessErrors()
    with show_progress(len(pictures), "testing", "drawing") as counter:
        try:
            for image, photos in pictures:
                checks.append(check_query_maps(explainer, image, photos, methods, draws, errors))
                counter.advance()
        except KeyboardInterrupt:
            print(f"ended after {len(checks)} of {len(pictures)} drawings", file=sys.stderr)
    return checks, errors


def _supported_methods(
    explainer: Explainer, image: Tensor, photos: Tensor, requested: str
) -> tuple[str, ...]:
    names = tuple(name.strip() for name in requested.split(","))
    ours = encode_images(explainer.encoder, image[None], Domain.SKETCH)
    return choose_methods(names, ours, encode_images(explainer.encoder, photos, Domain.PHOTO))[0]


if __name__ == "__main__":
    main()
