"""Measures every fine-tuning recipe under one budget, and writes a page: docs/finetuning.md is one.

    python scripts/study_finetuning.py --data folder:sketchy-sample --conceptnet conceptnet100k.tsv --jobs 2
      --label-free runs/labelfree-{seed}

Every cell is an ordinary run (`ssl-sbir finetune`, then `ssl-sbir evaluate`) under `--out`; finished ones are skipped,
a failure is recorded and doesn't stop the rest. `--label-free` names the runs of `ssl-sbir pretrain`, one a seed and
of its default size, that the second table starts from; without it there is none.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from _methods import (
    MethodTable,
    StudyMethod,
    describe_split,
    format_mean_minutes,
    format_outcome,
    format_student_interval,
    read_audits,
    read_written_notes,
)

from ssl_sbir.studies.grid import run_grid
from ssl_sbir.studies.study_table import StudyRow

FINETUNING_SPLIT = "sketchy-sake-25"

FROM_IMAGENET = "From ImageNet weights, 96 px, some 25,000 images (5 epochs unless stated otherwise)"
FROM_LABEL_FREE = "At 160 px, 5 epochs: from ImageNet's weights and from a label-free run"
AT_160 = ("encoder.size=160",)
AS_PUBLISHED = ("class_distillation=0",)


def build_finetuning_tables(conceptnet: str, label_free: str | None) -> list[MethodTable]:
    """The tables that are asked for."""
    graph = (f"semantics=conceptnet:{conceptnet}", "unknown_classes=neutral")
    first = MethodTable(
        FROM_IMAGENET,
        (
            StudyMethod("frozen", "the encoder, untrained", "sake", trained=False),
            StudyMethod("sake", "defaults: class distillation, no semantics", "sake"),
            StudyMethod("sake-conceptnet", "… the teacher tilted by ConceptNet (λ .3)", "sake", graph),
            StudyMethod(
                "sake-wordnet",
                "as published: WordNet (λ .3), no class distillation",
                "sake",
                ("semantics=wordnet", *AS_PUBLISHED),
            ),
            StudyMethod("prototype5", "… ConceptNet instead of WordNet", "prototype5", graph),
            StudyMethod(
                "doodle2search",
                "triplets, word vectors, two towers, attention; 3 epochs",
                "doodle2search",
                ("optim.epochs=3",),
            ),
            StudyMethod(
                "prototype1",
                "… without attention and domain loss, edges beside photos; 2 epochs",
                "prototype1",
                ("optim.epochs=2",),
            ),
            StudyMethod("multimodal", "drawing and text separate, late fusion", "multimodal"),
            StudyMethod("prototype2", "the class's name beside drawing and photo", "prototype2"),
            StudyMethod("prototype3", "… pulled towards the image", "prototype3"),
            StudyMethod("prototype4", "… and photos of another class beside the right name", "prototype4"),
        ),
        (FINETUNING_SPLIT,),
    )
    if label_free is None:
        return [first]
    start = f"run:{label_free}"
    second = MethodTable(
        FROM_LABEL_FREE,
        (
            StudyMethod("frozen-160", "the encoder, untrained", "sake", AT_160, trained=False),
            StudyMethod("sake-160", "defaults, from ImageNet's weights", "sake", AT_160),
            StudyMethod("label-free", "the label-free run itself", "sake", trained=False, start=start),
            StudyMethod("sake-label-free", "`sake` from it", "sake", start=start),
        ),
        (FINETUNING_SPLIT,),
    )
    return [first, second]


def main() -> int:
    """Runs the recipes and writes the page."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", required=True)
    ask.add_argument("--conceptnet", required=True, help="triples, or a graph of `ssl-sbir data conceptnet`")
    ask.add_argument("--label-free", help="PATH of a run folder, with {seed} in it")
    ask.add_argument("--out", type=Path, default=Path("runs/finetuning-study"))
    ask.add_argument("--page", type=Path, help="OUT/page.md by default")
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--jobs", type=int, default=1)
    ask.add_argument("--only", nargs="*", default=[], help="names of lines; frozen ones always run")
    asked = ask.parse_args()
    tables = build_finetuning_tables(asked.conceptnet, asked.label_free)
    cells = [cell for part in tables for cell in part.build_cells(asked.data, asked.seeds, asked.only)]
    rows = run_grid(cells, asked.out, asked.jobs).rows
    file = asked.page or asked.out / "page.md"
    file.write_text(
        format_finetuning_page(tables, rows, asked.data) + read_written_notes(file, FINETUNING_NOTES_HEADING),
        "utf-8",
    )
    return 0


def format_finetuning_page(tables: Sequence[MethodTable], rows: Sequence[StudyRow], data: str) -> str:
    """The Markdown page of the runs."""
    lines = [FINETUNING_PAGE_HEAD, describe_split(FINETUNING_SPLIT, data)]
    for part in tables:
        found, shows = (
            part.rows_by_method(rows, FINETUNING_SPLIT),
            {method.name: method.shows for method in part.methods},
        )
        lines += [
            f"\n## {part.title}\n",
            FINETUNING_COLUMNS,
            *(_finetuning_line(name, shows[name], found[name]) for name in found),
        ]
    return "\n".join(lines) + "\n"


def _finetuning_line(name: str, shows: str, rows: Sequence[StudyRow]) -> str:
    told, ended = format_outcome(rows)
    return f"| {name} | {shows} | {told} | {' | '.join(_text_columns(rows))} | {ended} | {format_mean_minutes(rows)} |"


def _text_columns(rows: Sequence[StudyRow]) -> tuple[str, str]:
    """What the class's name beside the drawing finds, and how much of the first ten a wrong one leaves the drawing."""
    found = [read_audits(row).get("text dominance") for row in rows if not row.has_failed]
    read = [audit for audit in found if audit]
    if not read:
        return "–", "–"
    kept = statistics.mean(audit["conflict"]["kept"]["mean"] for audit in read)
    return format_student_interval([audit["found"]["both"]["mean"] for audit in read]), f"{kept:.0%}"


FINETUNING_NOTES_HEADING = "\n## How to read it\n"
FINETUNING_COLUMNS = (
    "| recipe | what | mAP@all | with the class's name | kept against a wrong name | seeds | minutes |\n"
    "|---|---|---|---|---|---|---|"
)
FINETUNING_PAGE_HEAD = """# What the fine-tuning recipes give

Written by `scripts/study_finetuning.py`. Protocol `standard`, mAP@all, unseen sketches against unseen photos. Sketchy
subset of 125 classes with 25 sketches and 25 photos each, all labels of the 100 seen classes, EfficientNet-Lite0, drawings
scaled to one size (`encoder.fit=ink`). Mean over seeds ± the half width of Student's 95 % interval over them. Minutes of
the first table are of one CPU core, evaluation included, two runs side by side. Triplets take three images per sketch
(with edges five): their epochs are fewer, so that every recipe sees as many images. *With the class's name*: drawing and
name of each drawing's class together, for recipes that read text. *Kept*: the share of the first ten that the drawing keeps
when the name is another class's; prototypes 2 to 4 read the photos' labels too, so that their mAP@all is with the right
name on both sides."""


if __name__ == "__main__":
    sys.exit(main())
