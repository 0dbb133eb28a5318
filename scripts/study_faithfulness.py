"""Tests every heat map method of `explain` against random maps and edge maps, on a trained run.

    python scripts/study_faithfulness.py RUN --data folder:sketchy-sample/ --write docs/faithfulness.md

Drawings of unseen classes (evenly over the classes), each with its first results. For each map: the area between
insertion and deletion curve, less that of random maps and of an edge map, both of the same coarseness, and less
that of the finest edge map, whatever the map's own coarseness.
Intervals are 95 % bootstrap intervals over drawings, since pairs of one drawing are not independent. Also: how
maps change when weights are drawn by lot, and under small shifts; and the largest error of the region pairs' sum
and of the integrals. 200 pairs at 96 px take five minutes on one free core; Ctrl-C ends it early, with tables of
what was done. Prints them, and writes them into a Markdown file between two marks.
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

from ssl_sbir.data.images import decode
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.explain.explainer import Explainer
from ssl_sbir.explain.faithfulness import Baselines, Check, checks
from ssl_sbir.explain.gallery import best
from ssl_sbir.explain.maps import DEFAULT, MAPS, SideMaps, chosen
from ssl_sbir.explain.sanity import randomised
from ssl_sbir.explain.stability import stability
from ssl_sbir.explain.subject import subject
from ssl_sbir.explain.towers import Tower, tower
from ssl_sbir.files import write_atomic
from ssl_sbir.progress import progress

START, END = "<!-- study: start -->", "<!-- study: end -->"
SLOW = ("occlusion", "integrated")


@dataclass(frozen=True)
class Row:
    """One method on one side: gains over random and edge maps with intervals, and shares of maps that beat them."""

    method: str
    side: str
    maps: int
    over_random: tuple[float, float, float]
    over_edges: tuple[float, float, float]
    over_fine: tuple[float, float, float]
    beat_random: float
    beat_edges: float

    @property
    def better(self) -> bool:
        """Whether the intervals over random and edge maps of its coarseness lie above zero."""
        return min(self.over_random[1], self.over_edges[1]) > 0


@dataclass(frozen=True)
class Tested:
    """A check, and what the finest edge map reaches."""

    check: Check
    fine: float


@dataclass
class Errors:
    """The largest errors seen: of the sum of region pairs, and of the sums of integrated gradients."""

    regions: float = 0.0
    integral: float = 0.0

    def see(self, method: str, maps: SideMaps, ours: Tower, theirs: Tower) -> None:
        """Takes in the maps of one drawing."""
        if method == "regions" and maps.sketch is not None:
            scores = torch.cosine_similarity(ours.embedding, theirs.embedding)
            self.regions = max(self.regions, _largest(maps.sketch.sum((1, 2)) - scores))
        for error in (maps.sketch_error, maps.photo_error):
            if error is not None:
                self.integral = max(self.integral, _largest(error))


def _largest(values: Tensor) -> float:
    return float(values.abs().max())


def picked(explainer: Explainer, classes: tuple[str, ...], skip: int, count: int) -> list[int]:
    """Rows of drawings, evenly over the classes, after the first `skip` of them."""
    lists = [explainer.manifest.rows(Domain.SKETCH, [name]).tolist() for name in classes]
    draw = np.random.default_rng(0)
    mixed = [draw.permutation(rows).tolist() for rows in lists if rows]
    turns = max(len(rows) for rows in mixed)
    return [rows[turn] for turn in range(turns) for rows in mixed if turn < len(rows)][skip : skip + count]


def sides(explainer: Explainer, row: int, results: int) -> tuple[Tensor, Tensor]:
    """The drawing [3, h, w] and its first results [k, 3, h, w]."""
    size, fit = explainer.encoder.preprocess.size, explainer.encoder.preprocess.fit
    pixels = decode(explainer.manifest.source, explainer.manifest.keys[row], size, fit)
    image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 255
    sketch = tower(explainer.encoder, image[None], Domain.SKETCH)
    places = best(explainer.gallery.scores(sketch.embedding[0]), results)
    return image, explainer.gallery.images(places)


def tested(
    explainer: Explainer, image: Tensor, photos: Tensor, methods: tuple[str, ...], draws: int, errors: Errors
) -> list[Tested]:
    """All checks of one drawing and its results; notes the errors of sums."""
    ours = tower(explainer.encoder, image[None], Domain.SKETCH)
    theirs = tower(explainer.encoder, photos, Domain.PHOTO)
    plain = Baselines(ours, theirs.embedding, draws), Baselines(theirs, ours.embedding, draws)
    found: list[Tested] = []
    for method in methods:
        maps = MAPS[method](ours, theirs)
        errors.see(method, maps, ours, theirs)
        for side, values, other, baselines in (
            (ours, maps.sketch, theirs.embedding, plain[0]),
            (theirs, maps.photo, ours.embedding, plain[1]),
        ):
            if values is not None:
                done = checks(method, side, values, other, baselines)
                found += [
                    Tested(check, fine) for check, fine in zip(done, baselines.edges().tolist(), strict=True)
                ]
    return found


def interval(groups: list[list[float]], draws: int = 4000) -> tuple[float, float, float]:
    """The mean and its 95 % bootstrap interval, whole groups drawn."""
    sums = np.array([sum(group) for group in groups])
    counts = np.array([len(group) for group in groups])
    chosen = np.random.default_rng(0).integers(len(groups), size=(draws, len(groups)))
    means = sums[chosen].sum(1) / counts[chosen].sum(1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(sums.sum() / counts.sum()), float(low), float(high)


def rows_of(found: list[list[Tested]]) -> list[Row]:
    """One row a method and side, and one a method over both sides."""
    groups: dict[tuple[str, str], list[list[Tested]]] = defaultdict(lambda: [[] for _ in found])
    for number, all_tested in enumerate(found):
        for it in all_tested:
            groups[it.check.method, it.check.side][number].append(it)
            groups[it.check.method, "both"][number].append(it)
    return [_row(method, side, lists) for (method, side), lists in groups.items()]


def _row(method: str, side: str, groups: list[list[Tested]]) -> Row:
    flat = [it.check for group in groups for it in group]
    return Row(
        method,
        side,
        len(flat),
        interval([[it.check.area - it.check.random for it in group] for group in groups]),
        interval([[it.check.area - it.check.edges for it in group] for group in groups]),
        interval([[it.check.area - it.fine for it in group] for group in groups]),
        float(np.mean([check.beats_random for check in flat])),
        float(np.mean([check.beats_edges for check in flat])),
    )


def behaviour(
    explainer: Explainer, pictures: list[tuple[Tensor, Tensor]], method: str
) -> dict[str, float | None]:
    """Mean rank correlation after half and all layers are drawn by lot, and after small shifts."""
    half: list[float] = []
    whole: list[float] = []
    still: list[float] = []
    for image, photos in pictures:
        stages = randomised(explainer.encoder, image, photos, method, stages=2)
        half += [value for value in (stages[0].drawing, stages[0].photo) if value is not None]
        whole += [value for value in (stages[-1].drawing, stages[-1].photo) if value is not None]
        still += [value for value in stability(explainer.encoder, image, photos, method) if value is not None]
    return {
        name: float(np.mean(values)) if values else None
        for name, values in (("half", half), ("all", whole), ("shifted", still))
    }


def markdown(rows: list[Row], likeness: dict[str, dict[str, float | None]], head: str) -> str:
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
            f"{'yes' if row.better else 'no'} | {_shown(row)} |"
        )
    lines += [
        "",
        "| maps | last half of the layers by lot | all layers by lot | pictures shifted by 4 % |",
        "|---|---|---|---|",
    ]
    for method, values in likeness.items():
        shown = " | ".join("–" if value is None else f"{value:.2f}" for value in values.values())
        lines.append(f"| {method} | {shown} |")
    return "\n".join(lines) + "\n"


def _shown(row: Row) -> str:
    """Whether the pages show these maps unless others are asked for: on photos alone."""
    if row.method not in DEFAULT or row.side == "drawing":
        return "off"
    return "on" if row.side == "photo" else "on photos"


def main() -> None:
    """Prints the tables, and writes them where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run")
    parser.add_argument("--data", required=True)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--skip", type=int, default=0, help="drawings of an earlier study to pass over")
    parser.add_argument("--results", type=int, default=4, help="pairs a drawing")
    parser.add_argument("--methods", default="gradcam,regions,occlusion,strokes,integrated")
    parser.add_argument("--draws", type=int, default=3, help="random maps a check")
    parser.add_argument("--behaviour", type=int, default=8, help="drawings for the sanity and shift tests")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", type=Path, help="Markdown file that holds the two marks")
    parser.add_argument("--json", type=Path, help="file for all rows")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    manifest = open_data(options.data)
    seen_by = subject(options.run, manifest)
    classes = seen_by.classes(None)
    explainer = Explainer(seen_by.encoder, manifest, classes)
    queries = picked(explainer, tuple(classes or manifest.classes), options.skip, options.queries)
    start = time.perf_counter()
    pictures = [sides(explainer, row, options.results) for row in queries]
    methods = _possible(explainer, *pictures[0], options.methods)
    some = pictures[: options.behaviour]
    likeness = {
        method: behaviour(explainer, some[:2] if method in SLOW else some, method) for method in methods
    }
    found, errors = _all_tested(explainer, pictures, methods, options.draws)
    rows, size = rows_of(found), seen_by.encoder.preprocess.size
    head = (
        f"{len(found)} drawings × {options.results} results = {len(found) * options.results} pairs of "
        f"{manifest.name.rsplit('/', 1)[-1]} ({seen_by.split.name if seen_by.split else 'all classes'}, unseen "
        f"classes), {size} px; random maps: {options.draws} a check. The last table: mean rank correlation "
        f"with the true maps, {len(some)} drawings ({min(2, len(some))} for the slow methods). Largest error of "
        f"the region pairs' sum: {errors.regions:.1e}; of the integrals: {errors.integral:.1e}."
    )
    text = markdown(rows, likeness, head)
    print(text)
    print(f"{time.perf_counter() - start:.0f} s")
    if options.json:
        facts = {"rows": [vars(row) for row in rows], "likeness": likeness}
        write_atomic(options.json, json.dumps(facts, indent=1) + "\n")
    if options.write:
        before, _, rest = options.write.read_text(encoding="utf-8").partition(START)
        write_atomic(options.write, f"{before}{START}\n{text}{END}{rest.partition(END)[2]}")


def _all_tested(
    explainer: Explainer, pictures: list[tuple[Tensor, Tensor]], methods: tuple[str, ...], draws: int
) -> tuple[list[list[Tested]], Errors]:
    found: list[list[Tested]] = []
    errors = Errors()
    with progress(len(pictures), "testing", "drawing") as counter:
        try:
            for image, photos in pictures:
                found.append(tested(explainer, image, photos, methods, draws, errors))
                counter.advance()
        except KeyboardInterrupt:
            print(f"ended after {len(found)} of {len(pictures)} drawings", file=sys.stderr)
    return found, errors


def _possible(explainer: Explainer, image: Tensor, photos: Tensor, asked: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in asked.split(","))
    ours = tower(explainer.encoder, image[None], Domain.SKETCH)
    return chosen(names, ours, tower(explainer.encoder, photos, Domain.PHOTO))[0]


if __name__ == "__main__":
    main()
