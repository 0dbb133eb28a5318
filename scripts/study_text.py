"""Measures what a text adds to a drawing on unseen classes; writes docs/text-queries.md.

    python scripts/study_text.py --data folder:sketchy-sample --conceptnet conceptnet100k.tsv --start runs/sake

Trains `multimodal` and `prototype2` on the split's seen classes and `multimodal` on OpenMoji (whose drawings have
names and keywords), unless the runs exist. Texts of the unseen classes: their names, and the sentences of
`tests/fusion/sentences.json`, written from definitions without the name. Takes minutes on two idle cores.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.evaluation.audits.retrieval_audits import Audit
from ssl_sbir.evaluation.audits.text_audits import text_audit
from ssl_sbir.evaluation.metrics.bootstrap import percentile_intervals, resampled_means
from ssl_sbir.evaluation.with_text import label_embedder, query_texts
from ssl_sbir.fusion import LabelTextTower, TextTower
from ssl_sbir.fusion.calibration import average_precision_per_query
from ssl_sbir.fusion.training_texts import readable_name
from ssl_sbir.memory import keep_freed_memory
from ssl_sbir.run import RunFolder
from ssl_sbir.training.pipeline import TrainingRequest, train

TEXT_STUDY_SPLIT = "sketchy-sake-25"
SENTENCES_FILE = Path(__file__).parents[1] / "tests" / "fusion" / "sentences.json"
ACCURACY_KS = (1, 5, 10)


@dataclass(frozen=True)
class UnseenClassesRun:
    """A run evaluated on the unseen classes: its text side, features, labels, texts and instances."""

    tower: TextTower
    sketch: Tensor
    gallery: Tensor
    labels: Tensor
    gallery_labels: Tensor
    classes: tuple[str, ...]
    texts: list[str]
    instances: Tensor
    gallery_instances: Tensor

    @classmethod
    @torch.no_grad()
    def from_run_folder(cls, folder: Path, data: str) -> "UnseenClassesRun":
        """The unseen classes of a run's own split."""
        run = RunFolder.open(folder)
        manifest, encoder = open_data(data), run.encoder()
        tower, pack = (
            run.text_tower(encoder),
            prepare_pack(manifest, encoder.preprocess.size, fit=encoder.preprocess.fit),
        )
        unseen = Split.from_facts(run.provenance["split"]).restrict_to(manifest.classes).unseen
        queries, photos = (manifest.find_rows(domain, unseen) for domain in Domain)
        queries, photos = queries[pack.ok[queries]], photos[pack.ok[photos]]
        embed = label_embedder(tower) if isinstance(tower, LabelTextTower) else embed_rows
        return cls(
            tower,
            embed_rows(encoder, pack, manifest, queries),
            F.normalize(embed(encoder, pack, manifest, photos), dim=1),
            torch.from_numpy(manifest.label[queries].astype("int64")),
            torch.from_numpy(manifest.label[photos].astype("int64")),
            manifest.classes,
            query_texts(manifest, queries),
            torch.from_numpy(manifest.instance[queries]),
            torch.from_numpy(manifest.instance[photos]),
        )

    def fuse_queries(self, with_sketch: bool, texts: Sequence[str] | None, share: float | None) -> Tensor:
        """Query vectors, in the form that `text_audit` requests."""
        weights = None if share is None else (share, 1 - share)
        with torch.no_grad():
            return self.tower.fuse(self.sketch if with_sketch else None, texts, weights).vector

    def audit_texts(self, texts: Sequence[str]) -> Audit:
        """The audit of one text per drawing."""
        sides = self.labels, self.gallery, self.gallery_labels
        return text_audit(self.fuse_queries, texts, *sides, self.tower.weights[0])

    def gain_over_best_side(self, texts: Sequence[str]) -> tuple[float, float, float]:
        """The paired difference of both to the better of the two alone: mean and interval."""
        sketch_only, text_only, both = (
            average_precision_per_query(
                self.fuse_queries(with_sketch, text, None), self.labels, self.gallery, self.gallery_labels
            )
            for with_sketch, text in ((True, None), (False, texts), (True, texts))
        )
        better_side = sketch_only if sketch_only.mean() >= text_only.mean() else text_only
        difference = (both - better_side).double()[:, None]
        (spread,) = percentile_intervals(resampled_means(difference))
        return float(difference.mean()), spread.low, spread.high

    def instance_accuracy(self, query: Tensor) -> dict[int, float]:
        """acc@k of the drawing's own photo."""
        order = (query @ self.gallery.T).topk(max(ACCURACY_KS), dim=1).indices
        hit = self.gallery_instances[order] == self.instances[:, None]
        return {k: float(hit[:, :k].any(1).float().mean()) for k in ACCURACY_KS}


def sentences_for_drawings(unseen: UnseenClassesRun, number: int) -> list[str]:
    """A sentence without the class name for each drawing."""
    sentences = json.loads(SENTENCES_FILE.read_text(encoding="utf-8"))["sentences"]
    return [sentences[unseen.classes[label]][number] for label in unseen.labels.tolist()]


@dataclass(frozen=True)
class TextRuns:
    """Runs that differ in their seed, with the same texts."""

    runs: Sequence[UnseenClassesRun]
    texts: Sequence[str]

    @cached_property
    def run_audits(self) -> list[Audit]:
        """The audit of each run."""
        return [unseen.audit_texts(self.texts) for unseen in self.runs]

    def mean_interval(self, what: str, side: str) -> tuple[float, float, float]:
        """A figure of the audits and its interval, averaged over the runs."""
        mean, low, high = (
            statistics.mean(audit[what][side][end] for audit in self.run_audits)
            for end in ("mean", "low", "high")
        )
        return mean, low, high

    @property
    def kept_over_weight(self) -> float:
        """The mean difference between the drawing's share and its weight."""
        return statistics.mean(
            audit["conflict"]["kept"]["mean"] - audit["share"] for audit in self.run_audits
        )

    def table_row(self, what: str) -> str:
        """A line of the table."""
        found = [self.mean_interval("found", side) for side in ("sketch", "text", "both")]
        cells = [f"{mean:.3f} ± {(high - low) / 2:.3f}" for mean, low, high in found]
        gains = [unseen.gain_over_best_side(self.texts) for unseen in self.runs]
        mean, low, high = (statistics.mean(column) for column in zip(*gains, strict=True))
        kept, least, most = self.mean_interval("conflict", "kept")
        conflict = [
            statistics.mean(audit["conflict"][side] for audit in self.run_audits)
            for side in ("drawing", "text")
        ]
        rest = [
            f"{mean:+.3f} ({low:+.3f} to {high:+.3f})",
            f"{statistics.mean(audit['share'] for audit in self.run_audits):.0%}",
            f"{kept:.0%} ({least:.0%} to {most:.0%})",
            " / ".join(f"{share:.0%}" for share in conflict),
            f"{statistics.mean(audit['shapley']['sketch_share'] for audit in self.run_audits):.0%}",
        ]
        return " | ".join(["", what, *cells, *rest, ""]).strip()

    def sweep_rows(self, what: str) -> list[str]:
        """Two lines of the sweep's table."""
        steps = list(zip(*(audit["sweep"] for audit in self.run_audits), strict=True))
        means = {
            key: [statistics.mean(one[key] for one in step) for step in steps] for key in ("mAP", "kept")
        }
        return [
            f"| {what}: mAP@all | " + " | ".join(f"{mean:.3f}" for mean in means["mAP"]) + " |",
            f"| {what}: kept | " + " | ".join(f"{mean:.0%}" for mean in means["kept"]) + " |",
        ]


def _format_binomial(share: float, count: int) -> str:
    return f"{share:.3f} ± {1.96 * (share * (1 - share) / count) ** 0.5:.3f}"


@dataclass(frozen=True)
class TextStudy:
    """The settings of the study."""

    data: str
    conceptnet: str
    runs: Path
    size: int
    seeds: int

    def train_all_seeds(
        self, name: str, recipe: str = "multimodal", start: Path | None = None, *settings: str
    ) -> list[UnseenClassesRun]:
        """A recipe evaluated on the unseen classes, for each seed; existing runs are reused."""
        runs = []
        for seed in range(self.seeds):
            assignments = (f"encoder.size={self.size}", f"seed={seed}", *settings)
            if recipe == "multimodal":
                assignments = (*assignments, f"phrases=conceptnet:{self.conceptnet}")
            folder = self.runs / f"{name}-{seed}"
            request = TrainingRequest(
                recipe,
                self.data,
                folder,
                split=TEXT_STUDY_SPLIT,
                settings=assignments,
                start=start,
                overwrite=True,
            )
            runs.append(UnseenClassesRun.from_run_folder(train_unless_finished(request), self.data))
        return runs


def train_unless_finished(request: TrainingRequest) -> Path:
    """The folder of a finished run, trained if necessary."""
    if not (request.out.is_dir() and RunFolder.open(request.out).is_finished):
        train(request, "finetuning")
    return request.out


TEXT_PAGE_HEAD = """# A text with the drawing

Written by `python scripts/study_text.py`; means over {seeds} seeds, with 95 % intervals over the drawings (each run's,
averaged). The network (EfficientNet-Lite0, ImageNet weights, {size} px) was not trained: only two linear heads and a text map
are learnt, on seen classes, in seconds. Photos are embedded without label or text.

## Unseen classes of {split} ({queries} drawings, {photos} photos; chance .05)

mAP@all ± half its interval. *Gain*: both over the better side alone, paired over drawings. *Weight*: the
drawing's share, calibrated on held-out seen classes. *Kept*: the drawing's share of the top ten against a text of
another class (of photos that either side alone ranks there). *Follow*: the shares of that top ten of the drawing's
class / of the text's class.

| text | drawing | text | both | gain | weight | kept | follow | Shapley, drawing |
|---|---|---|---|---|---|---|---|---|
"""

FUSION_KINDS_SECTION = """
`prototype2` is the counter-example: its gallery reads each photo's label as text. With the right text it looks like the
best method by far; against a wrong one its drawing keeps almost nothing, and `ssl-sbir evaluate` fails it twice
(label leak, text dominance).

The weight was calibrated with names, templates and ConceptNet's phrases of held-out seen classes. Against each of the
three texts above the drawing keeps at least {kept}.

## Kinds of fusion, and where the network comes from

With the first sentence. Training a network (`modulation`) takes minutes, the others seconds.

| fusion | drawing | text | both | gain | weight | kept | follow | Shapley, drawing |
|---|---|---|---|---|---|---|---|---|
"""

WEIGHT_SWEEP_SECTION = """
## By the weight of the drawing

| | 0 | .1 | .2 | .3 | .4 | .5 | .6 | .7 | .8 | .9 | 1 |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""

OPENMOJI_SECTION = """
## Instance retrieval: OpenMoji, subgroups that training never saw

{queries} line drawings, {photos} colour images without their lines. The text is the emoji's name and keywords; the gallery's
images are embedded without text. Share of drawings whose own image is among the first 1, 5 and 10, ± half a 95 %
interval (binomial).

| query | acc@1 | acc@5 | acc@10 |
|---|---|---|---|
"""


def main() -> None:
    """Runs the study and writes its page."""
    keep_freed_memory()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="Sketchy or a part of it")
    parser.add_argument("--conceptnet", required=True, help="triples: relation, head, tail")
    parser.add_argument("--start", type=Path, help="a run of sake or labelfree to start from in addition")
    parser.add_argument("--kinds", nargs="*", default=["gate", "joint"], help="kinds of fusion besides late")
    parser.add_argument("--runs", type=Path, default=Path("runs/text"))
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--page", type=Path, help="RUNS/page.md by default")
    options = parser.parse_args()
    study = TextStudy(options.data, options.conceptnet, options.runs, options.size, options.seeds)
    late, labelled = study.train_all_seeds("late"), study.train_all_seeds("p2", "prototype2")
    ours = late[0]
    names = [readable_name(ours.classes[label]) for label in ours.labels.tolist()]
    runs_by_text = {
        "name": TextRuns(late, names),
        "sentence": TextRuns(late, sentences_for_drawings(ours, 0)),
        "another sentence": TextRuns(late, sentences_for_drawings(ours, 1)),
    }
    leaking = TextRuns(labelled, names)
    lines = [
        *(one.table_row(what) for what, one in runs_by_text.items()),
        leaking.table_row("prototype2, name"),
    ]
    sentences = runs_by_text["sentence"].texts
    kinds = [runs_by_text["sentence"].table_row("late")]
    for kind in options.kinds:
        kinds.append(
            TextRuns(study.train_all_seeds(kind, "multimodal", None, f"fusion={kind}"), sentences).table_row(
                kind
            )
        )
    if options.start:
        recipe = RunFolder.open(options.start).provenance["recipe"]
        kinds.append(
            TextRuns(_late_fusion_from(study, options.start), sentences).table_row(
                f"late, from a run of {recipe}"
            )
        )
    sweeps = [line for what in ("name", "sentence") for line in runs_by_text[what].sweep_rows(what)]
    sweeps += leaking.sweep_rows("prototype2")
    over = min(one.kept_over_weight for one in runs_by_text.values())
    sizes = {"queries": len(ours.labels), "photos": len(ours.gallery)}
    page = (
        TEXT_PAGE_HEAD.format(size=options.size, split=TEXT_STUDY_SPLIT, seeds=options.seeds, **sizes)
        + "\n".join(lines)
        + "\n"
    )
    short = f"its weight less {-100 * over:.0f} percentage points"
    page += FUSION_KINDS_SECTION.format(kept="its weight" if over >= 0 else short)
    page += (
        "\n".join(kinds)
        + "\n"
        + WEIGHT_SWEEP_SECTION
        + "\n".join(sweeps)
        + "\n"
        + _format_openmoji_section(options.runs / "moji")
    )
    (options.page or options.runs / "page.md").write_text(page, encoding="utf-8")


def _late_fusion_from(study: TextStudy, start: Path) -> list[UnseenClassesRun]:
    """Late fusion on the network of a run, at its size."""
    size = RunFolder.open(start).encoder().preprocess.size
    return replace(study, size=size).train_all_seeds(f"late-from-{start.name}", "multimodal", start)


def _format_openmoji_section(folder: Path) -> str:
    """The section on OpenMoji."""
    request = TrainingRequest("multimodal", "openmoji", folder, settings=("encoder.size=64",), overwrite=True)
    unseen = UnseenClassesRun.from_run_folder(train_unless_finished(request), "openmoji")
    queries = {"drawing": (True, None), "text": (False, unseen.texts), "both": (True, unseen.texts)}
    found = {
        what: unseen.instance_accuracy(unseen.fuse_queries(*query, None)) for what, query in queries.items()
    }
    accuracies = [
        f"| {what} | " + " | ".join(_format_binomial(one[k], len(unseen.labels)) for k in ACCURACY_KS) + " |"
        for what, one in found.items()
    ]
    head = OPENMOJI_SECTION.format(queries=len(unseen.labels), photos=len(unseen.gallery))
    return head + "\n".join(accuracies) + "\n"


if __name__ == "__main__":
    main()
