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
from ssl_sbir.evaluation.evaluate_run import SplitEvaluation
from ssl_sbir.evaluation.evaluated_encoder import EvaluationSettings, evaluate_run
from ssl_sbir.explain.run.explain_query import explain_query, page_file_name
from ssl_sbir.files import write_atomic
from ssl_sbir.reports.render import render_template, write_html_page
from ssl_sbir.run import RunFolder
from ssl_sbir.training.pipeline import TrainingRequest, train

QUICKSTART_DATA = "openmoji"
QUICKSTART_ENCODER, QUICKSTART_SIZE = "efficientnet_lite0", 64
QUICKSTART_SPLIT, QUICKSTART_MARKER = "split.json", "quickstart.json"
QUICKSTART_OUTPUTS = (QUICKSTART_SPLIT, QUICKSTART_MARKER, "pretrained", "finetuned", "frozen", "index.html")
TINY_SETTINGS = ("optim.max_steps=2",)
Say = Callable[[str], None]


@dataclass(frozen=True)
class QuickstartStage:
    """One row of the quickstart's table.

    Attributes:
        name: frozen, pretrained or fine-tuned.
        labels: which labels it has used, in words.
        evaluation: its results on the unseen classes.
        page: its results page.
    """

    name: str
    labels: str
    evaluation: SplitEvaluation
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


def run_quickstart(out: Path, say: Say, *, overwrite: bool = False, tiny: bool = False) -> dict[str, Any]:
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
    _clear_output(out, overwrite, tiny)
    manifest = open_data(QUICKSTART_DATA)
    write_atomic(out / QUICKSTART_MARKER, json.dumps({"tiny": tiny}))
    split = out / QUICKSTART_SPLIT
    _write_split(Split.from_class_hashes(manifest.classes), split)
    settings = TINY_SETTINGS if tiny else ()
    say("1/4 pretraining without labels")
    _train_stage(
        TrainingRequest(
            "simclr",
            QUICKSTART_DATA,
            out / "pretrained",
            str(split),
            None,
            "quickstart-simclr",
            None,
            settings,
        ),
        say,
    )
    say("2/4 fine-tuning on the seen classes")
    start = out / "pretrained"
    _train_stage(
        TrainingRequest(
            "sake", QUICKSTART_DATA, out / "finetuned", str(split), start, "quickstart-sake", None, settings
        ),
        say,
    )
    say("3/4 evaluating on the unseen classes")
    stages = [
        _evaluate_stage("frozen", "ImageNet's, in the encoder", QUICKSTART_ENCODER, split, out / "frozen"),
        _evaluate_stage("pretrained", "no further ones", str(out / "pretrained"), split, None),
        _evaluate_stage("fine-tuned", "of the seen classes", str(out / "finetuned"), split, None),
    ]
    say("4/4 explaining the best, a middling and the worst query")
    explained = _explain_queries(stages[-1].evaluation, out / "finetuned")
    return _write_overview(out, stages, explained)


def _clear_output(out: Path, overwrite: bool, tiny: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        made = json.loads((out / QUICKSTART_MARKER).read_text("utf-8"))["tiny"]
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(
            f"{out} already holds something that is not a quickstart", "Choose another folder with --out."
        ) from None
    if overwrite:
        for name in QUICKSTART_OUTPUTS:
            shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink(missing_ok=True)
    elif made != tiny:
        raise RunError(
            f"{out} holds a quickstart {'with' if made else 'without'} --tiny",
            "Start over with --overwrite, or choose another folder with --out.",
        )


def _write_split(split: Split, path: Path) -> None:
    facts = {"name": "openmoji-hashed", "seen": split.seen, "unseen": split.unseen}
    write_atomic(path, json.dumps(facts, indent=1))


def _train_stage(request: TrainingRequest, say: Say) -> None:
    begun = (request.out / "provenance.json").is_file()
    if begun and RunFolder.open(request.out).is_finished:
        say(f"{request.out} is there already")
        return
    train(
        TrainingRequest(**{**vars(request), "resume": begun}),
        "pretraining" if request.recipe == "simclr" else "finetuning",
        say,
    )


def _evaluate_stage(name: str, labels: str, subject: str, split: Path, out: Path | None) -> QuickstartStage:
    size = QUICKSTART_SIZE if subject == QUICKSTART_ENCODER else None
    how = EvaluationSettings(protocols=["standard", "sake"])
    evaluation, where = evaluate_run(subject, QUICKSTART_DATA, str(split), how, size=size, out=out)
    return QuickstartStage(name, labels, evaluation, where)


def _explain_queries(evaluation: SplitEvaluation, run: Path) -> list[dict[str, str]]:
    test = evaluation.test_set
    encoder = RunFolder.open(run).encoder()
    precision = evaluation.result.values["standard"]["mAP@all"].nan_to_num(-1)
    order = torch.argsort(precision, descending=True).tolist()
    chosen = {"best": order[0], "middling": order[len(order) // 2], "worst": order[-1]}
    found = []
    for kind, query in chosen.items():
        row = int(test.queries[query])
        key = test.manifest.keys[row]
        report = explain_query(encoder, test.manifest, key, classes=test.split.unseen, top=5)
        place = report.save(run / "explain" / f"{page_file_name(key)}.html")
        found.append({"kind": kind, "query": key, "verdict": report.facts.verdict, "page": str(place)})
    return found


def _write_overview(
    out: Path, stages: list[QuickstartStage], explained: list[dict[str, str]]
) -> dict[str, Any]:
    facts = stages[-1].evaluation.facts
    rows = [stage.facts() for stage in stages]
    shared = {"split": facts["split"], "manifest_sha256": facts["manifest_sha256"], **facts["counts"]}
    shared["chance"] = facts["chance"]["mAP@all"]
    overview = {"stages": rows, "explained": explained, **shared}
    for item in (*rows, *explained):
        item["href"] = Path(item["page"]).relative_to(out).as_posix()
    html = render_template("quickstart.html.j2", {"facts": overview})
    return {**overview, "page": str(write_html_page(out / "index.html", html))}
