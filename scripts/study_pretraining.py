"""Measures what each label-free method and each of its terms gives, and writes docs/pretraining.md.

    python scripts/study_pretraining.py --data folder:sketchy-mini --seeds 3 --only selflabel simclr
    python scripts/study_pretraining.py --data folder:sketchy-mini --report   # from what is there

Every cell is an ordinary run (`ssl-sbir pretrain`, then `ssl-sbir evaluate`) under `--out`; finished ones are
skipped, a failure is recorded and doesn't stop the rest.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy.stats import t as student

SPLITS = ("sketchy-sake-25", "sketchy-eccv-21")


@dataclass(frozen=True)
class Cell:
    """One method with its settings.

    Attributes:
        name: of its runs.
        recipe: of `ssl-sbir pretrain`.
        settings: as `--set` takes them.
        shows: what the row of the table says.
    """

    name: str
    recipe: str
    settings: tuple[str, ...]
    shows: str


HED = "edges=hed"
CELLS = (
    Cell("selflabel", "selflabel", (HED,), "self-labelling, all terms"),
    Cell("selflabel-mixed", "selflabel", ("edges=mixed",), "… edges by sobel and canny, not HED"),
    Cell("selflabel-no-kinship", "selflabel", (HED, "kinship=0"), "… without kinship"),
    Cell("selflabel-no-preserve", "selflabel", (HED, "preserve=0"), "… without preservation"),
    Cell("selflabel-no-contrast", "selflabel", (HED, "contrast=0"), "… without contrast"),
    Cell("selflabel-unshared", "selflabel", (HED, "sketch_classes=0", "kinship=0"), "… sketches not used"),
    Cell("crossmodal", "crossmodal", (HED,), "photo against its own drawing, and preservation"),
    Cell("crossmodal-alone", "crossmodal", (HED, "preserve=0"), "… without preservation"),
    Cell("simclr", "simclr", ("optim.epochs=3",), "two views agree"),
)


def main() -> int:
    """Runs the cells that are asked for and writes the page."""
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--data", required=True)
    ask.add_argument("--out", type=Path, default=Path("runs/pretraining-study"))
    ask.add_argument("--page", type=Path, default=Path("docs/pretraining.md"))
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--only", nargs="*", default=[cell.name for cell in CELLS])
    ask.add_argument("--split", nargs="*", default=list(SPLITS))
    ask.add_argument("--report", action="store_true", help="run nothing")
    asked = ask.parse_args()
    if not asked.report:
        for split in asked.split:
            _frozen(asked.data, asked.out, split)
            for seed in range(asked.seeds):
                for cell in (c for c in CELLS if c.name in asked.only):
                    _run(cell, asked.data, split, seed, asked.out)
    asked.page.write_text(page(asked.out), "utf-8")
    return 0


def _run(cell: Cell, data: str, split: str, seed: int, out: Path) -> None:
    folder, begun = out / split / f"{cell.name}-{seed}", time.monotonic()
    if (folder / "study.json").is_file():
        return
    settings = [part for text in (*cell.settings, f"seed={seed}") for part in ("--set", text)]
    train = ["pretrain", cell.recipe, "--data", data, "--split", split, "--out", str(folder), *settings]
    facts: dict[str, Any] = {"cell": cell.name, "seed": seed, "split": split}
    again = ["--resume"] if (folder / "provenance.json").is_file() else []
    failed = _command([*train, *again])
    facts["minutes"] = (time.monotonic() - begun) / 60
    facts |= {"failed": failed} if failed else _evaluated(str(folder), data, split)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(facts), "utf-8")


def _frozen(data: str, out: Path, split: str) -> None:
    for name, more in (("frozen", []), ("frozen-centred", ["--centre", "train"])):
        path = out / split / f"{name}-0" / "study.json"
        if not path.is_file():
            found = _evaluated("efficientnet_lite0", data, split, "--size", "96", *more)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                json.dumps({"cell": name, "seed": 0, "split": split, "minutes": 0, **found}), "utf-8"
            )


def _command(arguments: list[str]) -> str:
    """Runs a command of ssl-sbir; returns why it failed, or nothing."""
    done = subprocess.run([sys.executable, "-m", "ssl_sbir", *arguments], stderr=subprocess.PIPE, text=True)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def _evaluated(name: str, data: str, split: str, *more: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "ssl_sbir",
        "evaluate",
        name,
        "--data",
        data,
        "--split",
        split,
        "--json",
        *more,
    ]
    done = subprocess.run([*command, "--protocol", "standard"], capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout)
    return {"mAP": facts["protocols"]["standard"]["mAP@all"], "split_sha256": facts["split"]["sha256"]}


def page(out: Path) -> str:
    """The Markdown page of the runs under a folder."""
    found = [json.loads(path.read_text("utf-8")) for path in sorted(out.glob("*/*/study.json"))]
    lines = [HEAD]
    for split in SPLITS:
        rows = [facts for facts in found if facts["split"] == split]
        if rows:
            lines += [f"## {split}\n", f"split sha256 `{rows[0].get('split_sha256', '')[:16]}…`\n", COLUMNS]
            lines += [_row(name, shows, [r for r in rows if r["cell"] == name]) for name, shows in _named()]
    return "\n".join(line for line in lines if line) + "\n"


HEAD = """# What label-free pretraining gives

Written by `scripts/study_pretraining.py`. Protocol `standard`, mAP@all: unseen sketches ask, unseen photos answer;
no label was read in training. Sketchy subset of 125 classes with 25 sketches and 25 photos each, 96 px. Mean over
seeds ± the half width of Student's 95 % interval; a single seed has none. Supervised upstream: the ImageNet labels
behind the encoder (most unseen classes of sketchy-sake-25 are among ImageNet's 1,000; those of sketchy-eccv-21 are
not) and the drawn boundaries of BSDS500 behind HED's edges.
"""
COLUMNS = "| run | what | mAP@all | seeds | minutes |\n|---|---|---|---|---|"


def _named() -> list[tuple[str, str]]:
    frozen = [
        ("frozen", "ImageNet encoder, untrained"),
        ("frozen-centred", "… each domain's training mean off"),
    ]
    return frozen + [(cell.name, cell.shows) for cell in CELLS]


def _row(name: str, shows: str, rows: list[dict[str, Any]]) -> str:
    values = [row["mAP"] for row in rows if "mAP" in row]
    failed = [row["failed"] for row in rows if row.get("failed")]
    if not rows:
        return ""
    told = _interval(values) if values else f"failed: {failed[0]}"
    minutes = statistics.mean(row["minutes"] for row in rows)
    return f"| {name} | {shows} | {told} | {len(values)} | {minutes:.0f} |"


def _interval(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.3f}".lstrip("0")
    if len(values) < 2:
        return mean
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean} ± {half:.3f}".replace("± 0.", "± .")


if __name__ == "__main__":
    sys.exit(main())
