"""Parts that methods of two views share: separate domains, momentum encoder, frozen prototypes, saved queues."""

import pytest
import torch
from lightly.models.modules.memory_bank import MemoryBankModule
from lightly.utils.scheduler import cosine_schedule
from torch import nn

from ssl_sbir.encoders import load_encoder
from ssl_sbir.objectives.momentum_and_prototypes import (
    MomentumEncoder,
    ProjectionModel,
    Prototypes,
    cosine_momentum,
    mean_over_domains,
    register_bank_buffers,
)
from ssl_sbir.training.optim import create_optimizer
from ssl_sbir.training.recipe import OptimConfig


def test_each_domain_is_compared_among_its_own():
    domain = torch.tensor([0, 1, 1, 0, 1])
    seen = {}

    def loss(of, view):
        seen[int(of)] = view[:, 0].tolist()
        return view.mean()

    found = mean_over_domains(loss, domain, torch.arange(5.0)[:, None])
    assert seen == {0: [0, 3], 1: [1, 2, 4]}
    assert found.item() == pytest.approx((1.5 + 7 / 3) / 2)
    assert mean_over_domains(loss, torch.ones(2, dtype=torch.int64), torch.ones(2, 1)).item() == 1


def test_a_twin_starts_alike_and_follows_slowly_without_a_gradient():
    encoder = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
    model = ProjectionModel(encoder, nn.Linear(encoder.width, 4))
    momentum_encoder = MomentumEncoder(model)
    before = [p.clone() for p in momentum_encoder.parameters()]
    with torch.no_grad():
        for p in (*model.encoder.parameters(), *model.projection_head.parameters()):
            p.add_(1)
    momentum_encoder.update(model, 0.9)
    moved = [new - old for new, old in zip(momentum_encoder.parameters(), before, strict=True)]
    torch.testing.assert_close(torch.cat([m.flatten() for m in moved]).mean(), torch.tensor(0.1))
    assert not any(p.requires_grad for p in momentum_encoder.parameters())


def test_momentum_rises_as_lightlys_schedule_does():
    for step in range(101):
        assert cosine_momentum(0.99, step / 100) == pytest.approx(cosine_schedule(step, 101, 0.99, 1.0))


def test_prototypes_that_are_held_stay_where_they_are():
    prototypes, features = Prototypes(4, 3), torch.randn(5, 4)
    for held, moves in ((True, False), (False, True)):
        prototypes.frozen = held
        prototypes.zero_grad()
        prototypes(features)[:, 0].sum().backward()
        assert bool(prototypes.weight.grad.any()) == moves


def test_a_kept_queue_is_part_of_the_state():
    assert not MemoryBankModule((4, 2)).state_dict()
    assert set(register_bank_buffers(MemoryBankModule((4, 2))).state_dict()) == {"bank", "bank_ptr"}


@pytest.mark.parametrize(("images", "factor"), [(64, 0.25), (512, 2.0)])
def test_the_rate_follows_the_batch_where_a_recipe_says_for_which_it_is_meant(images, factor):
    scales = {
        group["lr_scale"]
        for group in create_optimizer(nn.Linear(2, 2), OptimConfig(lr_batch=256), images=images).param_groups
    }
    assert scales == {factor}
    plain = create_optimizer(nn.Linear(2, 2), OptimConfig(), images=images)
    assert {group["lr_scale"] for group in plain.param_groups} == {1.0}
