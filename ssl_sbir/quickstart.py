"""The whole pipeline on OpenMoji: pretrain without labels, fine-tune, evaluate on unseen classes, explain.

The data are emoji, and their line art with jitter as drawings: enough for a first run, but no benchmark.
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
from ssl_sbir.evaluation.evaluate_run import EvaluationSettings, evaluate_run
from ssl_sbir.evaluation.metrics.split_evaluation import SplitEvaluation
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
        labels: that its training used, in words.
        evaluation: its results on the unseen classes.
        page: its results page.
    """

    name: str
    labels: str
    evaluation: SplitEvaluation
    page: Path

    def facts(self) -> dict[str, Any]:
        """The row's numbers, JSON-able."""
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
    """Runs all stages and writes an overview page; resumes where an earlier call stopped.

    Args:
        out: folder to write to.
        say: prints a progress message.
        overwrite: start over.
        tiny: two training steps per stage, to test the installation; nothing is learned.

    Returns:
        JSON-able facts: the table's rows, the explained queries and the path of the overview page.

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
        _evaluate_stage("frozen", "ImageNet's", QUICKSTART_ENCODER, split, out / "frozen"),
        _evaluate_stage("pretrained", "no others", str(out / "pretrained"), split, None),
        _evaluate_stage("fine-tuned", "those of the seen classes", str(out / "finetuned"), split, None),
    ]
    say("4/4 explaining the best, a middling and the worst query")
    explained = _explain_three_queries(stages[-1].evaluation, out / "finetuned")
    return _write_overview(out, stages, explained)


def _clear_output(out: Path, overwrite: bool, tiny: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    try:
        was_tiny = json.loads((out / QUICKSTART_MARKER).read_text("utf-8"))["tiny"]
    except (OSError, ValueError, KeyError, TypeError):
        raise RunError(
            f"{out} already holds files that are not a quickstart", "Choose another folder with --out."
        ) from None
    if overwrite:
        for name in QUICKSTART_OUTPUTS:
            shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink(missing_ok=True)
    elif was_tiny != tiny:
        raise RunError(
            f"{out} holds a quickstart {'with' if was_tiny else 'without'} --tiny",
            "Start over with --overwrite, or choose another folder with --out.",
        )


def _write_split(split: Split, path: Path) -> None:
    facts = {"name": "openmoji-hashed", "seen": split.seen, "unseen": split.unseen}
    write_atomic(path, json.dumps(facts, indent=1))


def _train_stage(request: TrainingRequest, say: Say) -> None:
    is_started = (request.out / "provenance.json").is_file()
    if is_started and RunFolder.open(request.out).is_finished:
        say(f"{request.out} is already finished")
        return
    train(
        TrainingRequest(**{**vars(request), "resume": is_started}),
        "pretraining" if request.recipe == "simclr" else "finetuning",
        say,
    )


def _evaluate_stage(name: str, labels: str, subject: str, split: Path, out: Path | None) -> QuickstartStage:
    size = QUICKSTART_SIZE if subject == QUICKSTART_ENCODER else None
    settings = EvaluationSettings(protocols=["standard", "sake"])
    evaluation, page = evaluate_run(subject, QUICKSTART_DATA, str(split), settings, size=size, out=out)
    return QuickstartStage(name, labels, evaluation, page)


def _explain_three_queries(evaluation: SplitEvaluation, run: Path) -> list[dict[str, str]]:
    test = evaluation.test_set
    encoder = RunFolder.open(run).encoder()
    precision = evaluation.result.values["standard"]["mAP@all"].nan_to_num(-1)
    order = torch.argsort(precision, descending=True).tolist()
    chosen = {"best": order[0], "middling": order[len(order) // 2], "worst": order[-1]}
    explained = []
    for kind, query in chosen.items():
        row = int(test.queries[query])
        key = test.manifest.keys[row]
        report = explain_query(encoder, test.manifest, key, classes=test.split.unseen, top=5)
        page = report.save(run / "explain" / f"{page_file_name(key)}.html")
        explained.append({"kind": kind, "query": key, "verdict": report.facts.verdict, "page": str(page)})
    return explained


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
