"""Measures what each label-free method and each of its terms gives, and writes docs/pretraining.md.

    python scripts/study_pretraining.py --data folder:sketchy-mini --jobs 2
    python scripts/study_pretraining.py --data folder:sketchy-mini --parts whole --only labelfree --seeds 1

Every cell is an ordinary run (`ssl-sbir pretrain`, then `ssl-sbir evaluate`) under `--out`; finished ones are
skipped, a failure is recorded and doesn't stop the rest.
"""

import argparse
import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.stats import t as student

from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.studies.cell import Cell
from ssl_sbir.studies.grid import run_grid
from ssl_sbir.studies.table import Row

SPLITS = ("sketchy-sake-25", "sketchy-eccv-21")
METRIC = "standard mAP@all"


@dataclass(frozen=True)
class Method:
    """A line of the table.

    Attributes:
        name: to ask for it.
        shows: what the line says.
        recipe: of `ssl-sbir pretrain`.
        settings: as `--set` takes them.
        centre: of the evaluation.
        trained: False for the encoder as it comes.
    """

    name: str
    shows: str
    recipe: str = "labelfree"
    settings: tuple[str, ...] = ()
    centre: str = "none"
    trained: bool = True

    def cell(self, data: str, split: str, seed: int) -> Cell:
        """One run of it."""
        cell = Cell(self.recipe, data, seed=seed, split=split, settings=self.settings, centre=self.centre)
        return replace(cell, trained=self.trained, axes={"method": self.name})


SAME = ("encoder.fit=ink",)
UNTRAINED = (
    Method("frozen", "ImageNet encoder as it comes", settings=("encoder.fit=squash",), trained=False),
    Method("frozen-ink", "… drawings brought to one size (`encoder.fit=ink`)", trained=False),
    Method("frozen-centred", "… and each domain's training mean taken off", centre="train", trained=False),
)
WHOLE = Method("labelfree", "self-labelling, all terms: what `ssl-sbir pretrain` does")
TERMS = (
    Method("no-evidence", "… sketches shared out by the encoder in training alone", settings=("evidence=0",)),
    Method("no-neighbours", "… each sketch for itself (`alike=0`)", settings=("alike=0",)),
    Method("mixed-edges", "… edges by sobel and canny, not by HED", settings=("edges=mixed",)),
    Method("whole-photos", "… pseudo-sketches of whole photos", settings=("focus=0", "framing=0")),
    Method("one-norm", "… one set of batch norm statistics", settings=("domain_norms=false",)),
    Method("squash", "… drawings as they lie on their page", settings=("encoder.fit=squash",)),
    Method("no-kinship", "… without kinship", settings=("kinship=0",)),
    Method("no-preserve", "… without preservation", settings=("preserve=0",)),
    Method("no-contrast", "… without contrast", settings=("contrast=0",)),
    Method("no-sketches", "… real sketches not used", settings=("sketch_classes=0", "kinship=0")),
    Method("sketch-contrast", "… contrast among real sketches added", settings=("sketch_contrast=0.5",)),
    Method("crossmodal", "photo against its own drawing, and preservation", "crossmodal", SAME),
    *(
        Method(name, "two views of an image agree, in each domain", name, SAME)
        for name in ("simclr", "moco", "byol", "simsiam", "barlow", "vicreg", "swav", "dino", "nnclr", "dcl")
    ),
)


@dataclass(frozen=True)
class Part:
    """A table of the page.

    Attributes:
        title: its heading.
        methods: its lines.
        splits: one table for each.
        settings: of all its runs.
    """

    title: str
    methods: Sequence[Method]
    splits: Sequence[str]
    settings: tuple[str, ...] = ()

    def cells(self, data: str, seeds: int, only: Sequence[str]) -> list[Cell]:
        """Its runs; seeds outermost, so that a study broken off has something of everything."""
        chosen = [m for m in self.methods if not only or not m.trained or m.name in only]
        return [
            replace(cell, settings=(*self.settings, *cell.settings), axes={**cell.axes, "part": self.title})
            for seed in range(seeds)
            for method in chosen
            for split in self.splits
            if method.trained or not seed
            for cell in [method.cell(data, split, seed)]
        ]


PARTS = {
    "whole": Part("At full size: 128 px, 8 epochs", (*UNTRAINED, WHOLE), SPLITS),
    "terms": Part(
        "Each term and each method, at 64 px for 4 epochs",
        (*UNTRAINED, WHOLE, *TERMS),
        SPLITS[:1],
        ("encoder.size=64", "optim.epochs=4"),
    ),
}


def main() -> int:
    """Runs the methods that are asked for and writes the page."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", required=True)
    ask.add_argument("--out", type=Path, default=Path("runs/pretraining-study"))
    ask.add_argument("--page", type=Path, default=Path("docs/pretraining.md"))
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--jobs", type=int, default=1)
    ask.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    ask.add_argument("--only", nargs="*", default=[], help="names of methods; frozen ones always run")
    asked = ask.parse_args()
    cells = [cell for name in asked.parts for cell in PARTS[name].cells(asked.data, asked.seeds, asked.only)]
    rows = run_grid(cells, asked.out, asked.jobs).rows
    asked.page.write_text(page(rows, asked.data) + _notes(asked.page), "utf-8")
    return 0


def _notes(path: Path) -> str:
    """What people wrote below the tables of an earlier page."""
    _, heading, notes = path.read_text("utf-8").partition(NOTES) if path.is_file() else ("", "", "")
    return heading + notes


def page(rows: Sequence[Row], data: str) -> str:
    """The Markdown page of the runs."""
    lines = [HEAD]
    for part in PARTS.values():
        for name in part.splits:
            here = [r for r in rows if r.cell.axes["part"] == part.title and r.cell.split == name]
            if not here:
                continue
            split = Split.load(name).restrict(open_data(data).classes)
            lines += [f"\n## {part.title}: {name}\n", f"split sha256 `{split.sha256[:16]}…`\n", COLUMNS]
            for method in part.methods:
                of = [row for row in here if row.cell.axes["method"] == method.name]
                lines += [_line(method, of)] if of else []
    return "\n".join(lines) + "\n"


NOTES = "\n## What helped, and what limits it\n"
HEAD = """# What label-free pretraining gives

Written by `scripts/study_pretraining.py`. Protocol `standard`, mAP@all: unseen sketches ask, unseen photos answer;
no label was read in training. Sketchy subset of 125 classes with 25 sketches and 25 photos each. Mean over seeds ±
the half width of Student's 95 % interval over them; a single run has none. Supervised upstream: the ImageNet labels
behind the encoder (most unseen classes of sketchy-sake-25 are among ImageNet's 1,000; of those of sketchy-eccv-21
five) and the drawn boundaries of BSDS500 behind HED's edges."""
COLUMNS = "| method | what | mAP@all | seeds | minutes |\n|---|---|---|---|---|"


def _line(method: Method, rows: Sequence[Row]) -> str:
    values = [row.metrics[METRIC] for row in rows if not row.failed]
    failed = [row.cause for row in rows if row.failed]
    told = _interval(values) if values else f"failed: {failed[0]}"
    minutes = statistics.mean(row.seconds for row in rows) / 60
    return f"| {method.name} | {method.shows} | {told} | {len(values)} | {minutes:.0f} |"


def _interval(values: Sequence[float]) -> str:
    mean = f"{statistics.mean(values):.3f}".removeprefix("0")
    if len(values) < 2:
        return mean
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean} ± {half:.3f}".replace("± 0.", "± .")


if __name__ == "__main__":
    sys.exit(main())
