"""The study of semantics where one core has minutes: SAKE's code and heads alone, on features computed once.

The encoder stays as ImageNet made it; the linear code (from the SVD of the teacher's classifier), the recall head and
the head of seen classes are trained by SAKE's two published terms. Sources, strengths, seeds, tests and verdict are
those of `ssl-sbir study semantics`, which trains the encoder, too: what is found here holds for the frozen one.

Run    python scripts/study_semantics_frozen.py --data folder:sketchy-sample --split sketchy-sake-25 --size 64
         --sources wordnet,conceptnet:FILE,glove --strengths published:.3,published:3,calibrated:.5
Cost   5,000 images at 64 px: features once, then a second of one core a run with a code of 64.
"""

import argparse
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.data.batches import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import load_encoder
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.evaluation.compare_runs import RunScores
from ssl_sbir.objectives.distillation import distillation_loss, svd_factorize, tilt_logits
from ssl_sbir.objectives.semantic_losses import teacher_similarity
from ssl_sbir.progress import show_progress
from ssl_sbir.semantics import forbid_unseen_classes
from ssl_sbir.studies import StudyCell, StudyRow, StudyTable
from ssl_sbir.studies.semantics_findings import SemanticsFindings, describe_reported_gap
from ssl_sbir.studies.semantics_study import NO_SOURCE, SemanticsStudy, TiltStrength

FROZEN_STEPS, FROZEN_BATCH_SIZE, FROZEN_LEARNING_RATE = 200, 64, 2e-3


@dataclass(frozen=True)
class FrozenSplitFeatures:
    """Frozen features and labels of both domains, seen and unseen, and the teacher's answers to the seen photos."""

    seen: dict[Domain, tuple[Tensor, Tensor]]
    unseen: dict[Domain, tuple[Tensor, Tensor]]
    head: nn.Linear
    teacher_logits: Tensor
    classes: tuple[str, ...]


def embed_split_classes(data: str, split: Split, size: int) -> FrozenSplitFeatures:
    """What the encoder makes of every image of the split's classes."""
    manifest, encoder = open_data(data), load_encoder("efficientnet_lite0", size=size)
    pack, head = prepare_pack(manifest, size), encoder.classifier()
    assert head is not None
    sides = []
    for classes in (split.seen, split.unseen):
        side = {}
        for domain in Domain:
            rows = manifest.find_rows(domain, classes)
            names = np.array(manifest.classes)[manifest.label[rows]].tolist()
            labels = torch.tensor([classes.index(name) for name in names])
            side[domain] = embed_rows(encoder, pack, manifest, rows).float(), labels
        sides.append(side)
    head = head.requires_grad_(False)
    return FrozenSplitFeatures(sides[0], sides[1], head, head(sides[0][Domain.PHOTO][0]), split.seen)


@cache
def load_teacher_similarity(spec: str, classes: tuple[str, ...]) -> Tensor | None:
    """The similarity of seen classes to the teacher's; None without a source."""
    return None if spec == "null" else teacher_similarity(spec, classes, 1000, "neutral")


def train_code(features: FrozenSplitFeatures, cell: StudyCell, width: int) -> nn.Linear:
    """The code after SAKE's training on frozen features."""
    torch.manual_seed(cell.seed)
    settings = dict(text.split("=", 1) for text in cell.settings)
    similarity = load_teacher_similarity(settings["semantics"], features.classes)
    code, recall = svd_factorize(features.head, width)
    classify = nn.Linear(width, len(features.classes))
    parameters = [*code.parameters(), *recall.parameters(), *classify.parameters()]
    optimiser = torch.optim.AdamW(parameters, FROZEN_LEARNING_RATE, weight_decay=5e-4)
    course = torch.optim.lr_scheduler.OneCycleLR(optimiser, FROZEN_LEARNING_RATE, FROZEN_STEPS)
    draw = torch.Generator().manual_seed(cell.seed)
    sketches, photos = (features.seen[domain] for domain in Domain)
    for _ in range(FROZEN_STEPS):
        one, other = (
            torch.randint(len(side[1]), (FROZEN_BATCH_SIZE,), generator=draw) for side in (sketches, photos)
        )
        answers, photo_label = features.teacher_logits[other], photos[1][other]
        if similarity is not None:
            tilt = TiltStrength.from_text(f"{settings['tilt']}:{settings['nearness']}")
            answers = tilt_logits(answers, similarity[photo_label], tilt.nearness, tilt.tilt)
        codes = code(torch.cat([sketches[0][one], photos[0][other]]))
        loss = F.cross_entropy(classify(codes), torch.cat([sketches[1][one], photo_label]))
        loss = loss + distillation_loss(recall(codes[FROZEN_BATCH_SIZE:]), answers.softmax(1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        course.step()
    return code.requires_grad_(False)


def unseen_average_precision(features: FrozenSplitFeatures, code: nn.Module) -> Tensor:
    """AP of each unseen sketch over all unseen photos, [q]."""
    (sketch, query), (photo, answer) = (features.unseen[domain] for domain in Domain)
    scores = F.normalize(code(sketch), dim=1) @ F.normalize(code(photo), dim=1).T
    order = scores.argsort(dim=1, descending=True, stable=True)
    hits = (answer[order] == query[:, None]).double()
    precision = hits.cumsum(1) / torch.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(1) / hits.sum(1)


def main() -> None:
    """Prints a row a source and strength, each contrast, and the verdict."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="sketchy-sake-25")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--code", type=int, default=64)
    parser.add_argument("--sources", required=True)
    parser.add_argument("--strengths", default="published:.3,published:3,calibrated:.5")
    given = parser.parse_args()
    split = Split.from_name(given.split, open_data(given.data).classes)
    strengths = tuple(TiltStrength.from_text(text) for text in given.strengths.split(","))
    asked = SemanticsStudy(
        given.data, sources=tuple(given.sources.split(",")), strengths=strengths, seeds=given.seeds
    )
    found = embed_split_classes(given.data, split, given.size)
    query = found.unseen[Domain.SKETCH][1]
    rows, scores = [], {}
    with (
        show_progress(len(asked.build_cells()), "study", "run") as counter,
        forbid_unseen_classes(split.unseen),
    ):
        for number, cell in enumerate(asked.build_cells()):
            values = unseen_average_precision(found, train_code(found, cell, given.code))
            run = Path(f"{number:03}-{cell.axes['source'].split(':')[0]}-{cell.seed}")
            facts = {"data": {"queries_sha256": split.sha256, "gallery_sha256": split.sha256}}
            scores[run] = RunScores(str(run), facts, {asked.metric_column: values.float()}, query)
            rows.append(StudyRow(cell, run))
            counter.advance()
    print(f"{split.name}, sha256 {split.sha256}; {len(query)} sketches; {given.size} px; code {given.code}")
    frozen = unseen_average_precision(found, nn.Identity()).mean()
    chance = float((query[:, None] == found.unseen[Domain.PHOTO][1]).float().mean())
    print(f"frozen features {frozen:.4f}, share of relevant photos {chance:.4f}")
    print_semantics_findings(SemanticsFindings(asked, StudyTable(rows), scores))


def print_semantics_findings(findings: SemanticsFindings) -> None:
    """Prints what was found."""
    for arm in findings.study_arms:
        mean, low, high = findings.mean_with_interval(arm)
        each = " ".join(f"{value:.4f}" for value in arm.values[arm.has_run].mean(1).tolist())
        print(
            f"{arm.display_name if arm.source != NO_SOURCE else NO_SOURCE} | {mean:.4f} | {low:.4f} to {high:.4f} | {each}"
        )
    for one in findings.corrected_contrasts:
        each = " ".join(f"{value:+.4f}" for value in one.by_seed)
        print(f"{one.arm.display_name} − {one.baseline.display_name} | {one.mean_difference:+.4f} | {one.low:+.4f} to {one.high:+.4f} | "
              f"{one.test.p_holm:.3f} | {one.test.p_classes:.3f} | {each}")  # fmt: skip
    print("\n".join(describe_reported_gap(findings)))


if __name__ == "__main__":
    main()
