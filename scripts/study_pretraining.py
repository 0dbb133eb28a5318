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

from _methods import (
    MethodTable,
    StudyMethod,
    describe_split,
    format_difference,
    format_mean_minutes,
    format_outcome,
    read_written_notes,
)

from ssl_sbir import recipes
from ssl_sbir.studies.grid import run_grid
from ssl_sbir.studies.study_table import StudyRow

PRETRAINING_SPLITS = ("sketchy-sake-25", "sketchy-eccv-21")
LABELFREE_RECIPE = "labelfree"

UNTRAINED_METHODS = (
    StudyMethod(
        "frozen", "ImageNet encoder, untrained", LABELFREE_RECIPE, ("encoder.fit=squash",), trained=False
    ),
    StudyMethod(
        "frozen-ink", "… drawings scaled to one size (`encoder.fit=ink`)", LABELFREE_RECIPE, trained=False
    ),
    StudyMethod(
        "frozen-centred",
        "… and each domain's training mean subtracted",
        LABELFREE_RECIPE,
        centre="train",
        trained=False,
    ),
)
LABELFREE_METHOD = StudyMethod(
    "labelfree", "self-labelling, all terms: the default of `ssl-sbir pretrain`", LABELFREE_RECIPE
)
MIXED_EDGES_METHOD = StudyMethod(
    "mixed-edges", "… edges by Sobel and Canny, not by HED", LABELFREE_RECIPE, ("edge_detector=mixed",)
)
ABLATION_METHODS = (
    StudyMethod(
        "no-evidence",
        "… sketches assigned by the trained encoder alone",
        LABELFREE_RECIPE,
        ("frozen_weight=0",),
    ),
    StudyMethod(
        "no-neighbours",
        "… without label spreading (`label_spreading=0`)",
        LABELFREE_RECIPE,
        ("label_spreading=0",),
    ),
    MIXED_EDGES_METHOD,
    StudyMethod(
        "whole-photos",
        "… pseudo-sketches of whole photos",
        LABELFREE_RECIPE,
        ("foreground_fraction=0", "reframed_fraction=0"),
    ),
    StudyMethod("one-norm", "… one set of batch norm statistics", LABELFREE_RECIPE, ("domain_norms=false",)),
    StudyMethod("squash", "… drawings not scaled to one size", LABELFREE_RECIPE, ("encoder.fit=squash",)),
    StudyMethod(
        "no-class-distillation", "… without class distillation", LABELFREE_RECIPE, ("class_distillation=0",)
    ),
    StudyMethod("no-distillation", "… without distillation", LABELFREE_RECIPE, ("distillation=0",)),
    StudyMethod("no-contrast", "… without contrast", LABELFREE_RECIPE, ("contrast=0",)),
    StudyMethod(
        "no-sketches",
        "… real sketches not used",
        LABELFREE_RECIPE,
        ("sketch_classes=0", "class_distillation=0"),
    ),
    StudyMethod(
        "sketch-contrast", "… contrast among real sketches added", LABELFREE_RECIPE, ("sketch_contrast=0.5",)
    ),
)
WITHIN_DOMAIN_RECIPES = (
    "simclr",
    "moco",
    "byol",
    "simsiam",
    "barlow",
    "vicreg",
    "swav",
    "dino",
    "nnclr",
    "dcl",
)
CROSS_DOMAIN_METHODS = (
    StudyMethod(
        "simclr-pseudo-sketch",
        "… a photo and its own pseudo-sketch agree",
        "simclr",
        ("pseudo_sketch_view=true",),
    ),
    StudyMethod("crossmodal", "a photo is matched with its own pseudo-sketch; distillation", "crossmodal"),
    StudyMethod("coclr", "photos and their drawings mine positives for each other; distillation", "coclr"),
    StudyMethod("ucdir", "clusters of photos and of sketches aligned; distillation", "ucdir"),
)
PRETRAINING_METHODS = tuple(
    replace(method, centre="train")
    for method in (
        *(StudyMethod(name, "two views of an image agree", name) for name in WITHIN_DOMAIN_RECIPES),
        *CROSS_DOMAIN_METHODS,
    )
)
TRANSDUCTIVE_METHODS = (
    LABELFREE_METHOD,
    replace(
        LABELFREE_METHOD,
        name="transductive",
        shows="… trained on the gallery's and the queries' images too",
        transductive=True,
    ),
)
UNCENTERED_METHOD = replace(LABELFREE_METHOD, shows=f"{LABELFREE_METHOD.shows}; no mean subtracted")
SMALL_SETTINGS = ("encoder.size=64", "optim.epochs=3")
LABELFREE_CONFIG = recipes.load_recipe(LABELFREE_RECIPE).Config()
FULL_SETTINGS = (
    f"encoder.size={LABELFREE_CONFIG.encoder.size}",
    f"optim.epochs={LABELFREE_CONFIG.optim.epochs}",
)
HED_SETTINGS = ("edge_detector=hed_lines",)

PRETRAINING_TABLES = {
    "whole": MethodTable(
        "At full size, by the defaults of `ssl-sbir pretrain`",
        (*UNTRAINED_METHODS, LABELFREE_METHOD),
        PRETRAINING_SPLITS,
    ),
    "terms": MethodTable(
        "Term by term, at 64 px for 3 epochs, edges by HED",
        (*UNTRAINED_METHODS, LABELFREE_METHOD, *ABLATION_METHODS),
        PRETRAINING_SPLITS[:1],
        (*SMALL_SETTINGS, *HED_SETTINGS),
        LABELFREE_METHOD.name,
    ),
    "methods": MethodTable(
        "Method by method, at full size, each domain's training mean subtracted",
        (*UNTRAINED_METHODS, *PRETRAINING_METHODS, UNCENTERED_METHOD),
        PRETRAINING_SPLITS[:1],
        FULL_SETTINGS,
        UNTRAINED_METHODS[-1].name,
    ),
    "archive": MethodTable(
        "An archive's own images, at full size: transductive",
        TRANSDUCTIVE_METHODS,
        PRETRAINING_SPLITS[:1],
        baseline=LABELFREE_METHOD.name,
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
    ask.add_argument("--parts", nargs="*", default=list(PRETRAINING_TABLES), choices=list(PRETRAINING_TABLES))
    ask.add_argument("--only", nargs="*", default=[], help="names of methods; frozen ones always run")
    asked = ask.parse_args()
    cells = [
        cell
        for name in asked.parts
        for cell in PRETRAINING_TABLES[name].build_cells(asked.data, asked.seeds, asked.only)
    ]
    rows = run_grid(cells, asked.out, asked.jobs).rows
    file = asked.page or asked.out / "page.md"
    file.write_text(
        format_pretraining_page(rows, asked.data) + read_written_notes(file, PRETRAINING_NOTES_HEADING),
        "utf-8",
    )
    return 0


def format_pretraining_page(rows: Sequence[StudyRow], data: str) -> str:
    """The Markdown page of the runs."""
    lines = [PRETRAINING_PAGE_HEAD]
    for part in PRETRAINING_TABLES.values():
        for name in part.splits:
            found = part.rows_by_method(rows, name)
            if not found:
                continue
            lines += [
                f"\n## {part.title}: {name}\n",
                f"{describe_split(name, data)}\n",
                _pretraining_table_head(part),
            ]
            shows = {method.name: method.shows for method in part.methods}
            lines += [
                _pretraining_line(of, shows[of], found[of], found.get(part.baseline, ())) for of in found
            ]
    return "\n".join(lines) + "\n"


PRETRAINING_NOTES_HEADING = "\n## What helped, and what limits it\n"
PRETRAINING_PAGE_HEAD = """# What label-free pretraining gives

Written by `scripts/study_pretraining.py`. Protocol `standard`, mAP@all, unseen sketches against unseen photos; no label
was read in training. Sketchy subset of 125 classes with 25 sketches and 25 photos each. Mean over seeds ± the half width
of Student's 95 % interval over them; a single run has none. Differences are computed seed by seed. Supervision used
upstream: the ImageNet labels behind the encoder (most unseen classes of sketchy-sake-25 are among ImageNet's 1,000; of
those of sketchy-eccv-21 five) and, where HED draws the edges, the boundaries of BSDS500, drawn by people."""


def _pretraining_table_head(part: MethodTable) -> str:
    against = [f"against {part.baseline}"] * bool(part.baseline)
    names = ["method", "what", "mAP@all", *against, "seeds", "minutes"]
    return f"| {' | '.join(names)} |\n|{'---|' * len(names)}"


def _pretraining_line(name: str, shows: str, rows: Sequence[StudyRow], against: Sequence[StudyRow]) -> str:
    told, ended = format_outcome(rows)
    compared = [format_difference(rows, against) if rows is not against else "–"] * bool(against)
    return f"| {' | '.join([name, shows, told, *compared, str(ended), format_mean_minutes(rows)])} |"


if __name__ == "__main__":
    sys.exit(main())
