"""What changes during a run, against slow twins: weights, temperatures, centers and momentums."""

import math

import pytest
import torch
import torch.nn.functional as F

from ssl_sbir import recipes
from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders import load_encoder
from ssl_sbir.objectives.cluster_evidence import ClusterEvidence
from ssl_sbir.objectives.self_labeling import center_features

NARROW = {"projection_dim": 8, "hidden_dim": 8, "bottleneck_dim": 8, "prototypes": 6, "n_local_crops": 0}


class TwoFixedViews:
    """The image and its mirror image, in turn."""

    def __init__(self):
        self.views = 0

    def view_batch(self, batch):
        self.views += 1
        return batch.image if self.views % 2 else batch.image.flip(-1)


def build_recipe(name, **settings):
    kind = recipes.load_recipe(name)
    fields = kind.Config.model_fields
    recipe = kind(kind.Config(**{key: v for key, v in NARROW.items() if key in fields}, **settings))
    recipe.augment = TwoFixedViews()
    encoder = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
    return recipe, recipe.build(encoder, ())


def random_batch():
    draw = torch.Generator().manual_seed(0)
    domain = torch.tensor([0] * 3 + [1] * 5)
    return Batch(torch.rand(8, 3, 32, 32, generator=draw), domain, torch.full((8,), -1), torch.arange(8))


@torch.no_grad()
def test_dinos_loss_warms_its_temperature_up_and_centers_each_domain():
    recipe, model = build_recipe(
        "dino", teacher_temp=0.07, warmup_teacher_temp=0.02, teacher_temp_warmup=0.5, center_momentum=0.8
    )
    model.eval()
    batch, center = random_batch(), dict.fromkeys(Domain, torch.zeros(6))
    views = batch.image, batch.image.flip(-1)
    # Another teacher than the student, so that the two can't be mistaken for each other.
    for parameter in model.momentum_encoder.parameters():
        parameter.mul_(1.3)
    taught = [model.momentum_encoder(view, batch.domain) for view in views]
    learnt = [model(view, batch.domain) for view in views]
    for progress, temperature in ((0.0, 0.02), (0.2, 0.04), (0.5, 0.07), (1.0, 0.07)):
        recipe.progress = progress
        slow = 0.0
        for domain in Domain:
            rows = batch.domain == domain
            for teacher, student in ((taught[0], learnt[1]), (taught[1], learnt[0])):
                target = ((teacher[rows] - center[domain]) / temperature).softmax(1)
                slow -= (target * (student[rows] / 0.1).log_softmax(1)).sum(1).mean().item() / 4
            mean = torch.cat([teacher[rows] for teacher in taught]).mean(0)
            center[domain] = 0.8 * center[domain] + 0.2 * mean
        assert recipe.loss(model, batch)["teach"].item() == pytest.approx(slow, rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "progress", "momentum"),
    [
        *((name, 0.0, 0.6) for name in ("byol", "dino", "moco")),
        *((name, 0.25, 1 - 0.4 * (math.cos(math.pi / 4) + 1) / 2) for name in ("byol", "dino")),
        *((name, 1.0, 1.0) for name in ("byol", "dino")),
        ("moco", 1.0, 0.6),
    ],
)
def test_momentum_encoders_follow_by_their_schedule(name, progress, momentum):
    recipe, model = build_recipe(name, momentum=0.6)
    online = [*model.encoder.parameters(), *model.projection_head.parameters()]
    for parameter in online:
        parameter.add_(1)
    copies = [
        *model.momentum_encoder.encoder.parameters(),
        *model.momentum_encoder.projection_head.parameters(),
    ]
    before = [parameter.clone() for parameter in copies]
    recipe.after_step(model, progress)
    for own, old, new in zip(copies, before, online, strict=True):
        torch.testing.assert_close(own, momentum * old + (1 - momentum) * new)


def test_self_labellings_own_evidence_grows_from_nothing_beside_the_frozen_networks():
    kind = recipes.load_recipe("selflabel")
    recipe = kind(kind.Config(frozen_weight=0.7, self_weight=1.3))
    draw = torch.Generator().manual_seed(0)
    recipe.photo_class, recipe.num_clusters = torch.arange(12) % 3, 3
    frozen = ClusterEvidence(torch.randn(5, 3, generator=draw), torch.randn(5, 4, generator=draw))
    embeddings = F.normalize(torch.randn(17, 6, generator=draw), dim=1)
    embeddings[[2, 14]] = 0  # a photo and a sketch that no batch has shown yet
    seen = [i for i in range(12) if i != 2]
    photos, sketches = center_features(embeddings[seen]), center_features(embeddings[12:])
    first = recipe._assignment_evidence(frozen, embeddings, 0)
    torch.testing.assert_close(first.scores, 0.7 * frozen.scores)
    assert torch.equal(first.sketch_features, frozen.sketch_features)
    for recipe.progress in (0.25, 0.75):
        found = recipe._assignment_evidence(frozen, embeddings, 1)
        for i in range(5):
            for k in range(3):
                members = [photos[j] for j, row in enumerate(seen) if recipe.photo_class[row] == k]
                mean = sum(members) / len(members)
                own = 0.0 if i == 2 else float(sketches[i] @ mean / mean.norm())
                slow = 0.7 * frozen.scores[i, k].item() + 1.3 * recipe.progress * 2 * own
                assert found.scores[i, k].item() == pytest.approx(slow, abs=1e-5)
        own = sketches * torch.tensor([1.0, 1, 0, 1, 1])[:, None]
        torch.testing.assert_close(found.sketch_features, torch.cat([frozen.sketch_features, own], 1))
