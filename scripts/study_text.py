"""Measures what a text finds without a single label, alone and beside a drawing; writes docs/text-queries.md.

    python scripts/study_text.py --data folder:sketchy-sample --conceptnet conceptnet100k.tsv

Trains `labelfree` on the seen classes of two published splits (no label is read), and for comparison `multimodal` and
`prototype2`, which read the labels of seen classes; runs that exist are reused. Texts of the unseen classes: their
names, and the sentences of `tests/fusion/sentences.json`, written without the name. How texts are read was chosen on
the classes that are seen in both splits, by the frozen encoder: the first table. Needs minutes besides the training.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import torch
from _methods import format_student_interval
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder, load_encoder
from ssl_sbir.encoders.embed import embed_rows, embed_rows_at_native_size
from ssl_sbir.evaluation.audits.retrieval_audits import Audit
from ssl_sbir.evaluation.audits.text_audits import text_audit
from ssl_sbir.evaluation.metrics.bootstrap import percentile_intervals, resampled_means
from ssl_sbir.evaluation.metrics.imagenet_overlap import imagenet_classes
from ssl_sbir.evaluation.with_text import label_embedder, query_texts
from ssl_sbir.fusion import LabelTextTower, TextTower
from ssl_sbir.fusion.calibration import average_precision_per_query
from ssl_sbir.fusion.open_text_side import open_text_side
from ssl_sbir.fusion.training_texts import readable_name
from ssl_sbir.fusion.vocabulary_head import VocabularyHead
from ssl_sbir.memory import keep_freed_memory
from ssl_sbir.run import RunFolder
from ssl_sbir.training.pipeline import TrainingRequest, train
from ssl_sbir.training.settings import TrainingStage

TEXT_STUDY_SPLITS = ("sketchy-sake-25", "sketchy-eccv-21")
SENTENCES_FILE = Path(__file__).parents[1] / "tests" / "fusion" / "sentences.json"
TEXT_KINDS = ("name", "sentence", "another sentence")
STUDY_PARTS = ("reading", "unlabelled", "labelled", "openmoji")
ACCURACY_KS = (1, 5, 10)
TEACHER, TEACHER_SIZE = "efficientnet_lite0", 224


@dataclass(frozen=True)
class StudyTexts:
    """The texts of classes, and which classes the encoder's vocabulary lacks."""

    sentences: dict[str, list[str]]

    @cached_property
    def outside(self) -> frozenset[str]:
        """The classes that no class of ImageNet covers."""
        return frozenset(name for name, covered in imagenet_classes(self.sentences).items() if not covered)

    @classmethod
    def from_file(cls, path: Path = SENTENCES_FILE) -> "StudyTexts":
        """The texts of `sentences.json`."""
        return cls(json.loads(path.read_text(encoding="utf-8"))["sentences"])

    def class_texts(self, kind: str, classes: Sequence[str]) -> list[str]:
        """A text of each class: `name`, `sentence` or `another sentence`."""
        if kind == "name":
            return [readable_name(name.partition("_(")[0]) for name in classes]
        return [self.sentences[name][kind != "sentence"] for name in classes]


@dataclass(frozen=True)
class UnseenClassesRun:
    """A run evaluated on the unseen classes: its text side, features, labels, texts and instances."""

    tower: TextTower
    sketch: Tensor
    gallery: Tensor
    labels: Tensor
    gallery_labels: Tensor
    classes: tuple[str, ...]
    unseen: tuple[str, ...]
    texts: list[str]
    instances: Tensor
    gallery_instances: Tensor

    @classmethod
    def from_run_folder(cls, folder: Path, data: str, *, with_teacher: bool = False) -> "UnseenClassesRun":
        """The unseen classes of a run's own split, by the run alone or with its teacher's code beside its own."""
        run = RunFolder.open(folder)
        beside = run.encoder_with_teacher() if with_teacher else None
        if beside is None:
            encoder = run.encoder()
            tower = run.text_tower(encoder)
        else:
            encoder, side = beside
            tower = side.load_tower(encoder)
        return cls.from_tower(tower, encoder, data, Split.from_facts(run.provenance["split"]))

    @classmethod
    @torch.no_grad()
    def from_tower(cls, tower: TextTower, encoder: Encoder, data: str, split: Split) -> "UnseenClassesRun":
        """The unseen classes of a split, by an encoder and its text side."""
        manifest = open_data(data)
        pack = prepare_pack(manifest, encoder.preprocess.size, fit=encoder.preprocess.fit)
        unseen = split.restrict_to(manifest.classes).unseen
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
            unseen,
            query_texts(manifest, queries),
            torch.from_numpy(manifest.instance[queries]),
            torch.from_numpy(manifest.instance[photos]),
        )

    def fuse_queries(self, with_sketch: bool, texts: Sequence[str] | None, share: float | None) -> Tensor:
        """Query vectors, in the form that `text_audit` requests."""
        weights = None if share is None else (share, 1 - share)
        with torch.no_grad():
            return self.tower.fuse(self.sketch if with_sketch else None, texts, weights).vector

    def texts_of_drawings(self, texts: StudyTexts, kind: str) -> list[str]:
        """The text of each drawing's class."""
        return texts.class_texts(kind, [self.classes[label] for label in self.labels.tolist()])

    def audit_texts(self, texts: Sequence[str]) -> Audit:
        """The audit of one text per drawing."""
        sides = self.labels, self.gallery, self.gallery_labels
        return text_audit(self.fuse_queries, texts, *sides, self.tower.weights[0])

    def precision_by_class(self, texts: StudyTexts, kind: str) -> dict[str, float]:
        """The average precision of the text of each unseen class, alone."""
        labels = torch.tensor([self.classes.index(name) for name in self.unseen])
        query = self.fuse_queries(False, texts.class_texts(kind, self.unseen), None)
        found = average_precision_per_query(query, labels, self.gallery, self.gallery_labels)
        return dict(zip(self.unseen, found.tolist(), strict=True))

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


@dataclass(frozen=True)
class TextRuns:
    """Runs that differ in their seed, with the same kind of text."""

    runs: Sequence[UnseenClassesRun]
    texts: StudyTexts
    kind: str

    @cached_property
    def texts_of_drawings(self) -> list[str]:
        """The text of each drawing."""
        return self.runs[0].texts_of_drawings(self.texts, self.kind)

    @cached_property
    def run_audits(self) -> list[Audit]:
        """The audit of each run."""
        return [unseen.audit_texts(self.texts_of_drawings) for unseen in self.runs]

    def format_side(self, side: str) -> str:
        """The mean average precision of a side over the runs, with its interval."""
        return format_student_interval([audit["found"][side]["mean"] for audit in self.run_audits])

    def format_text_alone(self) -> str:
        """The mean average precision of the texts of all classes, of those in ImageNet, and of the others."""
        found = [run.precision_by_class(self.texts, self.kind) for run in self.runs]
        groups = (
            list(found[0]),
            [name for name in found[0] if name not in self.texts.outside],
            [name for name in found[0] if name in self.texts.outside],
        )
        means = [[statistics.mean(run[name] for name in names) for run in found] for names in groups if names]
        return " | ".join(
            [format_student_interval(means[0]), *(_short(statistics.mean(m)) for m in means[1:])]
        )

    @property
    def kept_over_weight(self) -> float:
        """The mean difference between the drawing's share and its weight."""
        return statistics.mean(
            audit["conflict"]["kept"]["mean"] - audit["share"] for audit in self.run_audits
        )

    def table_row(self, what: str) -> str:
        """A line of the table of queries with drawings."""
        gains = [unseen.gain_over_best_side(self.texts_of_drawings) for unseen in self.runs]
        mean, low, high = (statistics.mean(column) for column in zip(*gains, strict=True))
        conflicts = [audit["conflict"] for audit in self.run_audits]
        kept = statistics.mean(one["kept"]["mean"] for one in conflicts)
        follow = [statistics.mean(one[side] for one in conflicts) for side in ("drawing", "text")]
        cells = [
            what,
            *(self.format_side(side) for side in ("sketch", "text", "both")),
            f"{mean:+.3f} ({low:+.3f} to {high:+.3f})",
            f"{statistics.mean(audit['share'] for audit in self.run_audits):.0%}",
            f"{kept:.0%}",
            " / ".join(f"{share:.0%}" for share in follow),
            f"{statistics.mean(audit['shapley']['sketch_share'] for audit in self.run_audits):.0%}",
        ]
        return f"| {' | '.join(cells)} |"

    def sweep_row(self, what: str) -> str:
        """A line of the table by weight: mean average precision and kept share."""
        steps = zip(*(audit["sweep"] for audit in self.run_audits), strict=True)
        cells = [
            f"{_short(statistics.mean(one['mAP'] for one in step))} / "
            f"{statistics.mean(one['kept'] for one in step):.0%}"
            for step in steps
        ]
        return f"| {what} | {' | '.join(cells)} |"


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


@dataclass(frozen=True)
class TextStudy:
    """The settings of the study."""

    data: str
    conceptnet: str
    runs: Path
    seeds: int
    texts: StudyTexts

    @cached_property
    def manifest(self) -> Manifest:
        """The images."""
        return open_data(self.data)

    def train_all_seeds(self, recipe: str, split: str, *settings: str) -> list[Path]:
        """The folders of a recipe's runs on a split; existing runs are reused."""
        stage: TrainingStage = "pretraining" if recipe == "labelfree" else "finetuning"
        folders = []
        for seed in range(self.seeds):
            folder = self.runs / f"{recipe}-{split}-{seed}"
            if not (folder.is_dir() and RunFolder.open(folder).is_finished):
                assignments = (f"seed={seed}", *settings)
                train(
                    TrainingRequest(
                        recipe, self.data, folder, split=split, settings=assignments, overwrite=True
                    ),
                    stage,
                )
            folders.append(folder)
        return folders

    def evaluate_runs(self, folders: Sequence[Path], *, with_teacher: bool = False) -> list[UnseenClassesRun]:
        """Runs on the unseen classes of their splits."""
        return [
            UnseenClassesRun.from_run_folder(folder, self.data, with_teacher=with_teacher)
            for folder in folders
        ]

    def runs_by_kind(self, runs: Sequence[UnseenClassesRun]) -> dict[str, TextRuns]:
        """The same runs with each kind of text."""
        return {kind: TextRuns(runs, self.texts, kind) for kind in TEXT_KINDS}

    def frozen_encoder(self, size: int) -> tuple[Encoder, TextTower]:
        """The untrained encoder with the text side of its own classifier."""
        encoder = load_encoder(TEACHER, size=size, fit="ink").eval()
        return encoder, open_text_side(encoder, TEACHER)

    def development_classes(self) -> list[str]:
        """The classes that are seen in both splits."""
        splits = [
            Split.from_name(name, self.manifest.classes).restrict_to(self.manifest.classes)
            for name in TEXT_STUDY_SPLITS
        ]
        return [name for name in self.manifest.classes if all(name in split.seen for split in splits)]


def _development_table(study: TextStudy) -> list[str]:
    """How texts are read, on the development classes, by the frozen encoder; a line for each variant."""
    encoder, tower = study.frozen_encoder(TEACHER_SIZE)
    head = tower.head
    assert isinstance(head, VocabularyHead)
    classes = study.development_classes()
    rows = study.manifest.find_rows(Domain.PHOTO, classes)
    gallery = F.normalize(embed_rows_at_native_size(encoder, study.manifest, rows), dim=1)
    gallery_labels = torch.from_numpy(study.manifest.label[rows].astype("int64"))
    labels = torch.tensor([study.manifest.classes.index(name) for name in classes])

    def score_variant(weights: Callable[[Tensor], Tensor]) -> list[str]:
        found = []
        for kind in TEXT_KINDS:
            centred = weights(tower.encoder(study.texts.class_texts(kind, classes))) - 1 / len(
                head.vocabulary
            )
            query = F.normalize(centred @ head.rows, dim=1)
            found.append(
                float(average_precision_per_query(query, labels, gallery, gallery_labels).double().mean())
            )
        return [_short(value) for value in found]

    def similar_classes(words: Tensor, temperature: float) -> Tensor:
        return (words @ head.descriptions.T / temperature).softmax(1)

    label_vectors = F.normalize(tower.encoder(head.vocabulary.labels), dim=1)
    variants: dict[str, Callable[[Tensor], Tensor]] = {
        "labels alone, τ .05": lambda words: (words @ label_vectors.T / 0.05).softmax(1),
        **{
            f"labels and definitions, τ {_short(t).rstrip('0')}": partial(similar_classes, temperature=t)
            for t in (0.03, 0.05, 0.07)
        },
        "… and the dictionary, by how much a text describes; the 20 largest: kept": head.class_weights,
    }
    return [f"| {what} | {' | '.join(score_variant(weights))} |" for what, weights in variants.items()]


PAGE_HEAD = """# Text without labels, alone and with the drawing

Written by `python scripts/study_text.py`. Means over {seeds} seeds ± half of Student's 95 % interval over them. No label of
the data is read, and no caption: the classes' names and the sentences appear only as queries. Supervision used upstream:
ImageNet's 1,000 labels with WordNet's definitions of them, and the sentence pairs behind MiniLM. *In* and *out*: classes
that are, or are not, among ImageNet's 1,000 (or a kind of one); those outside were never named to the encoder. Chance is
.05.

## How texts are read

Chosen here, on the {development} classes that are seen in both splits, by the frozen encoder at {size} px; mAP@all of a text
per class.

| reading | name | sentence | another sentence |
|---|---|---|---|
"""

SPLIT_HEAD = """
## Unseen classes of {split} ({queries} drawings, {photos} photos)

One text a class, mAP@all:

| photos embedded by | text | all | in | out |
|---|---|---|---|---|
"""

BOTH_HEAD = """
With the drawing, by label-free runs with their teacher's code beside their own. *Gain*: both over the better side alone,
paired over drawings, with its bootstrap interval. *Weight*: the drawing's share, as set. *Kept*: the drawing's share of
the top ten against a text of another class (of photos that either side alone ranks there). *Follow*: the shares of that
top ten of the drawing's class / of the text's class.

| text | drawing | text | both | gain | weight | kept | follow | Shapley, drawing |
|---|---|---|---|---|---|---|---|---|
"""

SWEEP_HEAD = """
By the weight of the drawing, mAP@all / kept:

| text | 0 | .1 | .2 | .3 | .4 | .5 | .6 | .7 | .8 | .9 | 1 |
|---|---|---|---|---|---|---|---|---|---|---|---|
"""

LABELLED_HEAD = """
## The same unseen classes of sketchy-sake-25, by runs that read labels

Runs that read the labels of the 100 seen classes, 96 px, frozen network; `prototype2` is the counter-example, whose
gallery reads each photo's label as text: with the right text it looks like the best method by far, against a wrong one
its drawing keeps almost nothing, and `ssl-sbir evaluate` fails it twice (label leak, text dominance).

| text | drawing | text | both | gain | weight | kept | follow | Shapley, drawing |
|---|---|---|---|---|---|---|---|---|
"""

OPENMOJI_HEAD = """
## Instance retrieval: OpenMoji, subgroups that training never saw

{queries} line drawings, {photos} colour images without their lines. The text is the emoji's name and keywords. Share of
drawings whose own image is among the first 1, 5 and 10, ± half a 95 % interval (binomial); `labelfree` trained on the
other subgroups, one seed.

| query | acc@1 | acc@5 | acc@10 |
|---|---|---|---|
"""


def _split_section(study: TextStudy, split: str) -> str:
    folders = study.train_all_seeds("labelfree", split)
    encoder, tower = study.frozen_encoder(TEACHER_SIZE)
    resolved = Split.from_name(split, study.manifest.classes)
    galleries = {
        f"the frozen encoder, {TEACHER_SIZE} px": [
            UnseenClassesRun.from_tower(tower, encoder, study.data, resolved)
        ],
        "`labelfree` alone": study.evaluate_runs(folders),
        "`labelfree` with its teacher beside (`ssl-sbir index`)": study.evaluate_runs(
            folders, with_teacher=True
        ),
    }
    best = list(galleries.values())[-1]
    lines = [
        f"| {what} | {kind} | {runs.format_text_alone()} |"
        for what, evaluated in galleries.items()
        for kind, runs in study.runs_by_kind(evaluated).items()
    ]
    beside = study.runs_by_kind(best)
    page = SPLIT_HEAD.format(split=split, queries=len(best[0].labels), photos=len(best[0].gallery))
    page += "\n".join(lines) + "\n" + BOTH_HEAD
    page += "\n".join(runs.table_row(kind) for kind, runs in beside.items()) + "\n" + SWEEP_HEAD
    return page + "\n".join(runs.sweep_row(kind) for kind, runs in beside.items()) + "\n"


def _labelled_section(study: TextStudy) -> str:
    split, size = TEXT_STUDY_SPLITS[0], "encoder.size=96"
    late = study.evaluate_runs(
        study.train_all_seeds("multimodal", split, size, f"phrases=conceptnet:{study.conceptnet}")
    )
    labelled = study.evaluate_runs(study.train_all_seeds("prototype2", split, size))
    rows = [runs.table_row(f"multimodal, {kind}") for kind, runs in study.runs_by_kind(late).items()]
    rows.append(TextRuns(labelled, study.texts, "name").table_row("prototype2, name"))
    return LABELLED_HEAD + "\n".join(rows) + "\n"


def _openmoji_section(study: TextStudy) -> str:
    folder = study.runs / "labelfree-openmoji"
    if not (folder.is_dir() and RunFolder.open(folder).is_finished):
        request = TrainingRequest(
            "labelfree",
            "openmoji",
            folder,
            split="hashed",
            settings=("encoder.size=96", "optim.epochs=1"),
            overwrite=True,
        )
        train(request, "pretraining")
    unseen = UnseenClassesRun.from_run_folder(folder, "openmoji", with_teacher=True)
    queries = {"drawing": (True, None), "text": (False, unseen.texts), "both": (True, unseen.texts)}
    found = {
        what: unseen.instance_accuracy(unseen.fuse_queries(*query, None)) for what, query in queries.items()
    }
    accuracies = [
        f"| {what} | " + " | ".join(_format_binomial(one[k], len(unseen.labels)) for k in ACCURACY_KS) + " |"
        for what, one in found.items()
    ]
    head = OPENMOJI_HEAD.format(queries=len(unseen.labels), photos=len(unseen.gallery))
    return head + "\n".join(accuracies) + "\n"


def _format_binomial(share: float, count: int) -> str:
    return f"{share:.3f} ± {1.96 * (share * (1 - share) / count) ** 0.5:.3f}"


def main() -> None:
    """Runs the study and writes its page."""
    keep_freed_memory()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="Sketchy or a part of it")
    parser.add_argument("--conceptnet", required=True, help="triples: relation, head, tail")
    parser.add_argument("--runs", type=Path, default=Path("runs/text"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--splits", nargs="*", default=list(TEXT_STUDY_SPLITS), choices=TEXT_STUDY_SPLITS)
    parser.add_argument("--parts", nargs="*", default=list(STUDY_PARTS), choices=STUDY_PARTS)
    parser.add_argument("--page", type=Path, help="RUNS/page.md by default")
    options = parser.parse_args()
    study = TextStudy(options.data, options.conceptnet, options.runs, options.seeds, StudyTexts.from_file())
    page = PAGE_HEAD.format(
        seeds=options.seeds, development=len(study.development_classes()), size=TEACHER_SIZE
    )
    sections = {
        "reading": lambda: "\n".join(_development_table(study)) + "\n",
        "unlabelled": lambda: "".join(_split_section(study, split) for split in options.splits),
        "labelled": lambda: _labelled_section(study),
        "openmoji": lambda: _openmoji_section(study),
    }
    for part in STUDY_PARTS:
        if part in options.parts:
            page += sections[part]()
            (options.page or options.runs / "page.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
