"""The whole path on OpenMoji: pretrain without labels, fine-tune, evaluate on unseen classes, explain.

The data are designers' drawings and the same line art with a jitter: good for a first run and for nothing else.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.errors import RunError
from ssl_sbir.evaluation.evaluate import Evaluated
from ssl_sbir.evaluation.subject import How, evaluated
from ssl_sbir.explain.query import explain_query, safe_name
from ssl_sbir.files import write_atomic
from ssl_sbir.reports.render import page, render
from ssl_sbir.run import RunFolder
from ssl_sbir.training import Order, train

DATA = "openmoji"
ENCODER, SIZE = "efficientnet_lite0", 64
SPLIT, MARKER = "split.json", "quickstart.json"
MADE = (SPLIT, MARKER, "pretrained", "finetuned", "frozen", "index.html")
TINY = ("optim.max_steps=2",)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Stage:
    """One row of the quickstart's table.

    Attributes:
        name: frozen, pretrained or fine-tuned.
        labels: which labels it has used, in words.
        evaluation: its results on the unseen classes.
        page: its results page.
    """

    name: str
    labels: str
    evaluation: Evaluated
    page: Path

    def facts(self) -> dict[str, Any]:
        """Its headline numbers, JSON-able."""
        standard = self.evaluation.result.protocols["standard"]
        interval = standard.interval_queries["mAP@all"]
        return {
            "stage": self.name,
            "labels": self.labels,
            "mAP@all": standard.micro["mAP@all"],
            "interval": [interval.low, interval.high],
            "P@100": standard.micro["P@100"],
            "page": str(self.page),
        }


def quickstart(out: Path, say: Say, *, overwrite: bool = False, tiny: bool = False) -> dict[str, Any]:
    """Runs everything and leaves a folder with an overview page; goes on where an earlier call stopped.

    Args:
        out: the folder.
        say: prints a line for people.
        overwrite: start over.
        tiny: two training steps a stage: shows that everything works, not that anything is learnt.

    Returns:
        JSON-able facts: the table's rows, the explained queries and the path of the overview.

    Raises:
        RunError: `out` holds something else.
        SslSbirError: a package of the extra `quickstart` is missing, or the disk is full.
    """
    _make_room(out, overwrite, tiny)
    manifest = open_data(DATA)
    write_atomic(out / MARKER, json.dumps({"tiny": tiny}))
    split = out / SPLIT
    _write_split(Split.hashed(manifest.classes), split)
    settings = TINY if tiny else ()
    say("1/4 pretraining without labels")
    _trained(
        Order("simclr", DATA, out / "pretrained", str(split), None, "quickstart-simclr", None, settings), say
    )
    say("2/4 fine-tuning on the seen classes")
    start = out / "pretrained"
    _trained(
        Order("sake", DATA, out / "finetuned", str(split), start, "quickstart-sake", None, settings), say
    )
    say("3/4 evaluating on the unseen classes")
    stages = [
        _stage("frozen", "ImageNet's, in the encoder", ENCODER, split, out / "frozen"),
        _stage("pretrained", "no further ones", str(out / "pretrained"), split, None),
        _stage("fine-tuned", "of the seen classes", str(out / "finetuned"), split, None),
    ]
    say("4/4 explaining the best, a middling and the worst query")
    explained = _explained(stages[-1].evaluation, out / "finetuned")
    return _overview(out, stages, explained)


def _make_room(out: Path, overwrite: bool, tiny: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        made = json.loads((out / MARKER).read_text("utf-8"))["tiny"]
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(
            f"{out} already holds something that is not a quickstart", "Choose another folder with --out."
        ) from None
    if overwrite:
        for name in MADE:
            shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink(missing_ok=True)
    elif made != tiny:
        raise RunError(
            f"{out} holds a quickstart {'with' if made else 'without'} --tiny",
            "Start over with --overwrite, or choose another folder with --out.",
        )


def _write_split(split: Split, path: Path) -> None:
    facts = {"name": "openmoji-hashed", "seen": split.seen, "unseen": split.unseen}
    write_atomic(path, json.dumps(facts, indent=1))


def _trained(order: Order, say: Say) -> None:
    begun = (order.out / "provenance.json").is_file()
    if begun and RunFolder.open(order.out).finished:
        say(f"{order.out} is there already")
        return
    train(
        Order(**{**vars(order), "resume": begun}),
        "pretraining" if order.recipe == "simclr" else "finetuning",
        say,
    )


def _stage(name: str, labels: str, subject: str, split: Path, out: Path | None) -> Stage:
    size = SIZE if subject == ENCODER else None
    how = How(protocols=["standard", "sake"])
    evaluation, where = evaluated(subject, DATA, str(split), how, size=size, out=out)
    return Stage(name, labels, evaluation, where)


def _explained(evaluation: Evaluated, run: Path) -> list[dict[str, str]]:
    test = evaluation.test
    encoder = RunFolder.open(run).encoder()
    precision = evaluation.result.values["standard"]["mAP@all"].nan_to_num(-1)
    order = torch.argsort(precision, descending=True).tolist()
    chosen = {"best": order[0], "middling": order[len(order) // 2], "worst": order[-1]}
    found = []
    for kind, query in chosen.items():
        row = int(test.queries[query])
        key = test.manifest.keys[row]
        report = explain_query(encoder, test.manifest, key, classes=test.split.unseen, top=5)
        place = report.save(run / "explain" / f"{safe_name(key)}.html")
        found.append({"kind": kind, "query": key, "verdict": report.facts.verdict, "page": str(place)})
    return found


def _overview(out: Path, stages: list[Stage], explained: list[dict[str, str]]) -> dict[str, Any]:
    facts = stages[-1].evaluation.facts
    rows = [stage.facts() for stage in stages]
    shared = {"split": facts["split"], "manifest_sha256": facts["manifest_sha256"], **facts["counts"]}
    shared["chance"] = facts["chance"]["mAP@all"]
    overview = {"stages": rows, "explained": explained, **shared}
    for item in (*rows, *explained):
        item["href"] = Path(item["page"]).relative_to(out).as_posix()
    html = render("quickstart.html.j2", {"facts": overview})
    return {**overview, "page": str(page(out / "index.html", html))}
