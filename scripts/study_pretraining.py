"""Measures what each label-free method and each of its terms gives, and writes a page: docs/pretraining.md is one.

    python scripts/study_pretraining.py --data folder:sketchy-sample --jobs 2
    python scripts/study_pretraining.py --data folder:sketchy-sample --parts whole --only labelfree --seeds 1

Every cell is an ordinary run (`ssl-sbir pretrain`, then `ssl-sbir evaluate`) under `--out`; finished ones are
skipped, a failure is recorded and doesn't stop the rest.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from _methods import Method, Part, difference, kept_notes, minutes, outcome, split_line

from ssl_sbir import recipes
from ssl_sbir.studies.grid import run_grid
from ssl_sbir.studies.table import Row

SPLITS = ("sketchy-sake-25", "sketchy-eccv-21")
LABELFREE = "labelfree"

UNTRAINED = (
    Method("frozen", "ImageNet encoder as it comes", LABELFREE, ("encoder.fit=squash",), trained=False),
    Method("frozen-ink", "… drawings brought to one size (`encoder.fit=ink`)", LABELFREE, trained=False),
    Method(
        "frozen-centred", "… and each domain's training mean off", LABELFREE, centre="train", trained=False
    ),
)
WHOLE = Method("labelfree", "self-labelling, all terms: the recipe of `ssl-sbir pretrain`", LABELFREE)
MIXED = Method("mixed-edges", "… edges by Sobel and Canny, not by HED", LABELFREE, ("edges=mixed",))
TERMS = (
    Method(
        "no-evidence", "… sketches shared out by the encoder in training alone", LABELFREE, ("evidence=0",)
    ),
    Method("no-neighbours", "… each sketch for itself (`alike=0`)", LABELFREE, ("alike=0",)),
    MIXED,
    Method("whole-photos", "… pseudo-sketches of whole photos", LABELFREE, ("focus=0", "framing=0")),
    Method("one-norm", "… one set of batch norm statistics", LABELFREE, ("domain_norms=false",)),
    Method("squash", "… drawings as they lie on their page", LABELFREE, ("encoder.fit=squash",)),
    Method("no-kinship", "… without kinship", LABELFREE, ("kinship=0",)),
    Method("no-preserve", "… without preservation", LABELFREE, ("preserve=0",)),
    Method("no-contrast", "… without contrast", LABELFREE, ("contrast=0",)),
    Method("no-sketches", "… real sketches not used", LABELFREE, ("sketch_classes=0", "kinship=0")),
    Method("sketch-contrast", "… contrast among real sketches added", LABELFREE, ("sketch_contrast=0.5",)),
)
WITHIN = ("simclr", "moco", "byol", "simsiam", "barlow", "vicreg", "swav", "dino", "nnclr", "dcl")
ACROSS = (
    Method("simclr-own-sketch", "… a photo and its own pseudo-sketch agree", "simclr", ("own_sketch=true",)),
    Method("crossmodal", "a photo finds its own pseudo-sketch; preservation", "crossmodal"),
    Method("coclr", "photos and their drawings mine for each other; preservation", "coclr"),
    Method("ucdir", "clusters of photos and of sketches brought together; preservation", "ucdir"),
)
METHODS = tuple(
    replace(method, centre="train")
    for method in (*(Method(name, "two views of an image agree", name) for name in WITHIN), *ACROSS)
)
TRANSDUCTIVE = (
    WHOLE,
    replace(
        WHOLE,
        name="transductive",
        shows="… and the gallery's and the queries' own images among them",
        transductive=True,
    ),
)
UNCENTRED = replace(WHOLE, shows=f"{WHOLE.shows}; no mean taken off")
SMALL = ("encoder.size=64", "optim.epochs=3")
DEFAULT = recipes.load(LABELFREE).Config()
FULL = (f"encoder.size={DEFAULT.encoder.size}", f"optim.epochs={DEFAULT.optim.epochs}")
BY_HED = ("edges=hed_lines",)

PARTS = {
    "whole": Part("At full size: as `ssl-sbir pretrain` does it", (*UNTRAINED, WHOLE), SPLITS),
    "terms": Part(
        "Term by term, at 64 px for 3 epochs, edges by HED",
        (*UNTRAINED, WHOLE, *TERMS),
        SPLITS[:1],
        (*SMALL, *BY_HED),
        WHOLE.name,
    ),
    "methods": Part(
        "Method by method, at full size, each domain's training mean off",
        (*UNTRAINED, *METHODS, UNCENTRED),
        SPLITS[:1],
        FULL,
        UNTRAINED[-1].name,
    ),
    "archive": Part(
        "An archive's own images, at full size: transductive", TRANSDUCTIVE, SPLITS[:1], against=WHOLE.name
    ),
}


def main() -> int:
    """Runs the methods that are asked for and writes the page."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", required=True)
    ask.add_argument("--out", type=Path, default=Path("runs/pretraining-study"))
    ask.add_argument("--page", type=Path, help="OUT/page.md by default")
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--jobs", type=int, default=1)
    ask.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    ask.add_argument("--only", nargs="*", default=[], help="names of methods; frozen ones always run")
    asked = ask.parse_args()
    cells = [cell for name in asked.parts for cell in PARTS[name].cells(asked.data, asked.seeds, asked.only)]
    rows = run_grid(cells, asked.out, asked.jobs).rows
    file = asked.page or asked.out / "page.md"
    file.write_text(page(rows, asked.data) + kept_notes(file, NOTES), "utf-8")
    return 0


def page(rows: Sequence[Row], data: str) -> str:
    """The Markdown page of the runs."""
    lines = [HEAD]
    for part in PARTS.values():
        for name in part.splits:
            found = part.rows(rows, name)
            if not found:
                continue
            lines += [f"\n## {part.title}: {name}\n", f"{split_line(name, data)}\n", _columns(part)]
            shows = {method.name: method.shows for method in part.methods}
            lines += [_line(of, shows[of], found[of], found.get(part.against, ())) for of in found]
    return "\n".join(lines) + "\n"


NOTES = "\n## What helped, and what limits it\n"
HEAD = """# What label-free pretraining gives

Written by `scripts/study_pretraining.py`. Protocol `standard`, mAP@all: unseen sketches ask, unseen photos answer;
no label was read in training. Sketchy subset of 125 classes with 25 sketches and 25 photos each. Mean over seeds ±
the half width of Student's 95 % interval over them; a single run has none. Differences are taken seed by seed.
Supervised upstream: the ImageNet labels behind the encoder (most unseen classes of sketchy-sake-25 are among
ImageNet's 1,000; of those of sketchy-eccv-21 five) and, where HED draws the edges, the drawn boundaries of BSDS500."""


def _columns(part: Part) -> str:
    against = [f"against {part.against}"] * bool(part.against)
    names = ["method", "what", "mAP@all", *against, "seeds", "minutes"]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def _line(name: str, shows: str, rows: Sequence[Row], against: Sequence[Row]) -> str:
    told, ended = outcome(rows)
    compared = [difference(rows, against) if rows is not against else "–"] * bool(against)
    return f"| {' | '.join([name, shows, told, *compared, str(ended), minutes(rows)])} |"


if __name__ == "__main__":
    sys.exit(main())
