"""A small study of semantics, for minutes of one core: SAKE's embedding layer and heads, on features computed once.

The encoder keeps its ImageNet weights; the linear embedding layer (from the SVD of the teacher's classifier), the
teacher head and the head of seen classes are trained by SAKE's two published terms. Sources, strengths, seeds, tests
and verdict are those of `ssl-sbir study semantics`, which also trains the encoder: the result holds for the frozen one.

Run    python scripts/study_semantics_frozen.py --data folder:sketchy-sample --split sketchy-sake-25 --size 64
         --sources wordnet,conceptnet:FILE,glove --strengths published:.3,published:3,calibrated:.5
Cost   5,000 images at 64 px: features once, then a second of one core per run with an embedding of 64.
"""

import argparse
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import load_encoder
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.encoders.factorized_head import svd_factorize
from ssl_sbir.evaluation.compare_runs import RunScores
from ssl_sbir.objectives.distillation import distillation_loss, tilt_logits
from ssl_sbir.objectives.semantic_losses import teacher_similarity
from ssl_sbir.progress import show_progress
from ssl_sbir.semantics import forbid_unseen_classes
from ssl_sbir.studies import StudyCell, StudyRow, StudyTable
from ssl_sbir.studies.semantics_findings import SemanticsFindings, describe_reported_gap
from ssl_sbir.studies.semantics_study import NO_SOURCE, SemanticsStudy, TiltStrength

FROZEN_STEPS, FROZEN_BATCH_SIZE, FROZEN_LEARNING_RATE = 200, 64, 2e-3


@dataclass(frozen=True)
class FrozenSplitFeatures:
    """Frozen features and labels of both domains, seen and unseen, and the teacher's logits of the seen photos."""

    seen: dict[Domain, tuple[Tensor, Tensor]]
    unseen: dict[Domain, tuple[Tensor, Tensor]]
    head: nn.Linear
    teacher_logits: Tensor
    classes: tuple[str, ...]


def embed_split_classes(data: str, split: Split, size: int) -> FrozenSplitFeatures:
    """The encoder's features of every image of the split's classes."""
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


def train_embedding_head(features: FrozenSplitFeatures, cell: StudyCell, width: int) -> nn.Linear:
    """The embedding layer after SAKE's training on frozen features."""
    torch.manual_seed(cell.seed)
    settings = dict(text.split("=", 1) for text in cell.settings)
    similarity = load_teacher_similarity(settings["semantics"], features.classes)
    embedding_head, teacher_head = svd_factorize(features.head, width)
    class_head = nn.Linear(width, len(features.classes))
    heads = nn.ModuleList([embedding_head, teacher_head, class_head])
    optimizer = torch.optim.AdamW(heads.parameters(), FROZEN_LEARNING_RATE, weight_decay=5e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, FROZEN_LEARNING_RATE, FROZEN_STEPS)
    draw = torch.Generator().manual_seed(cell.seed)
    sketches, photos = (features.seen[domain] for domain in Domain)
    for _ in range(FROZEN_STEPS):
        one, other = (
            torch.randint(len(side[1]), (FROZEN_BATCH_SIZE,), generator=draw) for side in (sketches, photos)
        )
        logits, photo_label = features.teacher_logits[other], photos[1][other]
        if similarity is not None:
            tilt = TiltStrength.from_text(f"{settings['tilt']}:{settings['similarity_weight']}")
            logits = tilt_logits(logits, similarity[photo_label], tilt.similarity_weight, tilt.tilt)
        embeddings = embedding_head(torch.cat([sketches[0][one], photos[0][other]]))
        loss = F.cross_entropy(class_head(embeddings), torch.cat([sketches[1][one], photo_label]))
        loss = loss + distillation_loss(teacher_head(embeddings[FROZEN_BATCH_SIZE:]), logits.softmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    return embedding_head.requires_grad_(False)


def unseen_average_precision(features: FrozenSplitFeatures, embedding_head: nn.Module) -> Tensor:
    """AP of each unseen sketch over all unseen photos, [q]."""
    (sketch, query), (photo, gallery) = (features.unseen[domain] for domain in Domain)
    scores = F.normalize(embedding_head(sketch), dim=1) @ F.normalize(embedding_head(photo), dim=1).T
    order = scores.argsort(dim=1, descending=True, stable=True)
    hits = (gallery[order] == query[:, None]).double()
    precision = hits.cumsum(1) / torch.arange(1, hits.shape[1] + 1)
    return (precision * hits).sum(1) / hits.sum(1)


def main() -> None:
    """Prints a row for each source and strength, each contrast, and the verdict."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True)
    parser.add_argument("--split", default="sketchy-sake-25")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--embedding-dim", type=int, default=64)
    parser.add_argument("--sources", required=True)
    parser.add_argument("--strengths", default="published:.3,published:3,calibrated:.5")
    options = parser.parse_args()
    split = Split.from_name(options.split, open_data(options.data).classes)
    strengths = tuple(TiltStrength.from_text(text) for text in options.strengths.split(","))
    study = SemanticsStudy(
        options.data, sources=tuple(options.sources.split(",")), strengths=strengths, seeds=options.seeds
    )
    features = embed_split_classes(options.data, split, options.size)
    query = features.unseen[Domain.SKETCH][1]
    rows, scores = [], {}
    with (
        show_progress(len(study.build_cells()), "study", "run") as counter,
        forbid_unseen_classes(split.unseen),
    ):
        for number, cell in enumerate(study.build_cells()):
            values = unseen_average_precision(
                features, train_embedding_head(features, cell, options.embedding_dim)
            )
            run = Path(f"{number:03}-{cell.axes['source'].split(':')[0]}-{cell.seed}")
            facts = {"data": {"queries_sha256": split.sha256, "gallery_sha256": split.sha256}}
            scores[run] = RunScores(str(run), facts, {study.metric_column: values.float()}, query)
            rows.append(StudyRow(cell, run))
            counter.advance()
    print(
        f"{split.name}, sha256 {split.sha256}; {len(query)} sketches; {options.size} px; embedding of {options.embedding_dim}"
    )
    frozen = unseen_average_precision(features, nn.Identity()).mean()
    chance = float((query[:, None] == features.unseen[Domain.PHOTO][1]).float().mean())
    print(f"frozen features {frozen:.4f}, share of relevant photos {chance:.4f}")
    print_semantics_findings(SemanticsFindings(study, StudyTable(rows), scores))


def print_semantics_findings(findings: SemanticsFindings) -> None:
    """Prints each source's precision, the contrasts and the verdict."""
    for arm in findings.study_arms:
        mean, low, high = findings.mean_with_interval(arm)
        each = " ".join(f"{value:.4f}" for value in arm.values[arm.has_run].mean(1).tolist())
        name = arm.display_name if arm.source != NO_SOURCE else NO_SOURCE
        print(f"{name} | {mean:.4f} | {low:.4f} to {high:.4f} | {each}")
    for contrast in findings.corrected_contrasts:
        arms = f"{contrast.arm.display_name} − {contrast.baseline.display_name}"
        interval = f"{contrast.mean_difference:+.4f} | {contrast.low:+.4f} to {contrast.high:+.4f}"
        each = " ".join(f"{value:+.4f}" for value in contrast.by_seed)
        print(f"{arms} | {interval} | {contrast.test.p_holm:.3f} | {contrast.test.p_classes:.3f} | {each}")
    print("\n".join(describe_reported_gap(findings)))


if __name__ == "__main__":
    main()
