"""Optimisers: which weights step, how fast, and what a frozen stage costs."""

import copy

import pytest
import torch
from safetensors.torch import load_file
from tiny_for_tests import TINY_ENCODER

from ssl_sbir.encoders import DomainHeadsEncoder, load_encoder
from ssl_sbir.encoders.domain_conditioned import DomainNorm, DomainTag
from ssl_sbir.encoders.stages import encoder_stages
from ssl_sbir.errors import ConfigError
from ssl_sbir.training.optim import create_optimizer, freeze_stages
from ssl_sbir.training.pipeline import TrainingRequest, train
from ssl_sbir.training.settings import OptimConfig

TINY = (*TINY_ENCODER, "batch.sketches=8", "batch.photos=8", "projection_dim=16", "optim.max_steps=4")


@pytest.fixture
def encoder():
    return load_encoder("timm:test_efficientnet", size=32, pretrained=False)


def trained(shapes, out, *settings):
    request = TrainingRequest("simclr", f"folder:{shapes}", out, settings=(*TINY, *settings))
    train(request, "pretraining", str)
    return load_file(out / "model/model.safetensors")


def test_freezing_nothing_is_as_if_it_were_not_there(shapes, tmp_path, monkeypatch):
    with_it = trained(shapes, tmp_path / "a", "optim.lr_batch=0", "optim.freeze=0", "optim.layer_decay=1")

    def plain(model, config, encoder=None, images=None):
        p = list(model.parameters())
        groups = [
            {"params": [x for x in p if x.ndim > 1], "weight_decay": config.weight_decay, "lr_scale": 1.0},
            {"params": [x for x in p if x.ndim <= 1], "weight_decay": 0.0, "lr_scale": 1.0},
        ]
        return torch.optim.AdamW(groups, lr=config.lr)

    monkeypatch.setattr("ssl_sbir.training.loop.create_optimizer", plain)
    monkeypatch.setattr("ssl_sbir.training.loop.freeze_stages", lambda *_: [])
    without = trained(shapes, tmp_path / "b", "optim.lr_batch=0")
    assert with_it.keys() == without.keys()
    assert all(torch.equal(with_it[name], without[name]) for name in without)


def test_frozen_stages_stay_as_they_were_weights_and_statistics(shapes, tmp_path, encoder):
    names = [stage.name for stage in encoder_stages(encoder)]
    free = trained(shapes, tmp_path / "free", "optim.freeze=0")
    for freeze, kept in (("3", names[:3]), (f"[{names[1]}]", names[1:2])):
        after = trained(shapes, tmp_path / freeze, f"optim.freeze={freeze}")
        start = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
        assert start.state_dict().keys() == after.keys()
        start.load_state_dict(after)
        belongs = {}
        for stage in encoder_stages(start):
            for part in stage.parts:
                for tensor in part.state_dict().values():
                    belongs[tensor.data_ptr()] = stage.name
        stage_of = {name: belongs[value.data_ptr()] for name, value in start.state_dict().items()}
        once = trained(shapes, tmp_path / f"{freeze}-once", f"optim.freeze={freeze}", "optim.max_steps=1")
        moved = {stage_of[name] for name in after if not torch.equal(after[name], once[name])}
        assert moved == set(names) - set(kept)
    assert any(not torch.equal(free[name], after[name]) for name in free)


def test_frozen_first_stages_leave_nothing_for_the_backward_pass(encoder):
    chosen = freeze_stages(encoder, 3)
    outputs = {}
    for stage in encoder_stages(encoder):
        stage.parts[-1].register_forward_hook(
            lambda _, __, out, name=stage.name: outputs.update({name: out.requires_grad})
        )
    encoder(torch.rand(2, 3, 32, 32), torch.zeros(2, dtype=torch.long))
    assert {name for name, needs in outputs.items() if not needs} == {stage.name for stage in chosen}


def test_the_names_of_stages_are_told_to_whoever_errs(encoder):
    with pytest.raises(ConfigError, match="no stage 'blocks_0'"):
        freeze_stages(encoder, ["blocks_0"])
    with pytest.raises(ConfigError, match="the encoder has") as caught:
        freeze_stages(encoder, 99)
    assert "stem" in caught.value.hint
    freeze_stages(encoder, len(encoder_stages(encoder)))
    with pytest.raises(ConfigError, match="nothing to train"):
        create_optimizer(encoder, OptimConfig(), encoder)


def test_each_stage_steps_slower_than_the_one_after_it(encoder):
    model = torch.nn.ModuleDict({"encoder": encoder, "head": torch.nn.Linear(4, 4)})
    optimizer = create_optimizer(model, OptimConfig(layer_decay=0.5), encoder)
    scale = {p: group["lr_scale"] for group in optimizer.param_groups for p in group["params"]}
    decay = {p: group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert len(scale) == len(list(model.parameters()))
    assert all(scale[p] == 1 for p in model["head"].parameters())
    stages = encoder_stages(encoder)
    for i, stage in enumerate(stages):
        for p in stage.parameters():
            assert scale[p] == 0.5 ** (len(stages) - 1 - i)
            assert decay[p] == (0.01 if p.ndim > 1 else 0)


def test_a_slower_stage_moves_less(encoder):
    before = copy.deepcopy(encoder.state_dict())
    optimizer = create_optimizer(encoder, OptimConfig(layer_decay=0.1, weight_decay=0), encoder)
    for group in optimizer.param_groups:
        group["lr"] *= group["lr_scale"]
    encoder(torch.rand(2, 3, 32, 32), torch.zeros(2, dtype=torch.long)).sum().backward()
    optimizer.step()
    moved = {name: (value - before[name]).abs().max().item() for name, value in encoder.named_parameters()}
    assert moved["backbone.conv_stem.weight"] < 0.01 * moved["backbone.conv_head.weight"]


def test_vectors_have_no_decay_also_where_each_domain_has_its_own():
    encoder = DomainHeadsEncoder(load_encoder("timm:test_efficientnet", size=32, pretrained=False), 16)
    tag = DomainTag()
    model = torch.nn.ModuleList([encoder, DomainNorm(torch.nn.BatchNorm2d(3), tag)])
    groups = create_optimizer(model, OptimConfig(weight_decay=0.1)).param_groups
    decayed = {p for group in groups if group["weight_decay"] for p in group["params"]}
    names = {name for name, p in model.named_parameters() if p in decayed}
    assert "0.weight" in names
    assert not {"0.bias", "1.scale", "1.shift", "1.norm.weight"} & names
