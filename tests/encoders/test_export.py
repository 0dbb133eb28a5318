"""Exported encoders: bit for bit the same again, and every way a folder can be wrong."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ssl_sbir.encoders import (
    DomainConditionedEncoder,
    Encoder,
    ProjectedEncoder,
    TwoTowerEncoder,
    encoder_from_spec,
    load_encoder,
    load_exported,
    save_encoder,
)
from ssl_sbir.errors import ConfigError, EncoderError, RunError

BOTH = torch.tensor([0, 1])


def small(size: int = 32) -> Encoder:
    return load_encoder("timm:resnet10t", size=size, pretrained=False)


def nested() -> Encoder:
    sketch = ProjectedEncoder(DomainConditionedEncoder(small()), nn.Linear(512, 6, bias=False))
    return TwoTowerEncoder(sketch, ProjectedEncoder(small(), nn.Linear(512, 6)))


def vit() -> Encoder:
    return load_encoder("timm:vit_tiny_patch16_224", size=48, pretrained=False)


def named(name: str) -> Encoder:
    return load_encoder(name, size=32, pretrained=False)


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    save_encoder(ProjectedEncoder(small(), nn.Linear(512, 4)), tmp_path / "run" / "model")
    return tmp_path / "run" / "model"


@pytest.mark.parametrize(
    "make",
    [
        small,
        nested,
        vit,
        *(
            lambda name=name: named(name)
            for name in ("resnet50", "vgg16_bn", "cse_resnet50", "efficientnet_lite0_conditional")
        ),
    ],
)
def test_an_encoder_comes_back_bit_for_bit(make, tmp_path: Path) -> None:
    encoder = make()
    image = torch.rand(4, 3, encoder.preprocess.size, encoder.preprocess.size)
    domain = BOTH.repeat(2)
    encoder.train()(image, domain)  # batch-norm statistics move, so they must be carried too
    with torch.no_grad():
        for weight in encoder.parameters():
            weight += 0.01 * torch.randn_like(weight)
    encoder.eval().to(memory_format=torch.channels_last)
    save_encoder(encoder, tmp_path / "model")
    again = load_exported(tmp_path / "model").to(memory_format=torch.channels_last)
    assert again.spec == encoder.spec == json.loads((tmp_path / "model" / "config.json").read_text())
    assert again.preprocess == encoder.preprocess
    assert all(torch.equal(again.state_dict()[name], value) for name, value in encoder.state_dict().items())
    with torch.no_grad():
        assert torch.equal(again(image, domain), encoder(image, domain))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_a_run_is_an_encoder(exported: Path) -> None:
    for name in (f"run:{exported.parent}", f"run:{exported}", str(exported.parent), str(exported)):
        assert load_encoder(name).width == 4
    assert load_encoder(f"run:{exported}", size=32).classifier() is None
    with pytest.raises(EncoderError, match="takes images of 32 px, not 64"):
        load_encoder(f"run:{exported}", size=64)


def test_preprocessing_lies_beside_the_weights(exported: Path) -> None:
    facts = json.loads((exported / "preprocess.json").read_text())
    assert facts == {"size": 32, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "fit": "squash"}


def change(folder: Path, edit) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_a_missing_an_extra_and_a_misshapen_tensor_are_named(exported: Path) -> None:
    change(exported, lambda tensors: tensors.pop("linear.bias"))
    with pytest.raises(RunError, match=r"model.safetensors: tensor missing: linear.bias"):
        load_exported(exported)
    change(
        exported, lambda tensors: tensors.update({"linear.bias": torch.zeros(5), "foreign": torch.zeros(1)})
    )
    with pytest.raises(RunError) as error:
        load_exported(exported)
    assert "unexpected tensor: foreign" in error.value.message
    assert "linear.bias has shape [5] instead of [4]" in error.value.message
    assert "export the run again" in error.value.hint


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, "config.json is missing"),
        ("preprocess.json", None, "preprocess.json is missing"),
        ("model.safetensors", None, "model.safetensors can't be read"),
        ("model.safetensors", "abc", "model.safetensors can't be read"),
        ("config.json", "{", "config.json can't be read"),
        ("config.json", "[1]", "holds no JSON object"),
        ("config.json", "{}", "is no encoder's"),
        ("config.json", '{"kind": "projected", "width": 4, "bias": true}', "is no encoder's"),
        ("config.json", '{"kind": "timm", "model": "resnet10", "preprocess": {}}', "is no encoder's"),
        ("preprocess.json", '{"size": 32, "mean": [0, 0], "std": [1, 1, 1]}', "is no encoder's"),
        ("preprocess.json", '{"size": 64, "mean": [0, 0, 0], "std": [1, 1, 1]}', "disagree"),
    ],
)
def test_a_damaged_folder_says_what_is_wrong(
    exported: Path, file: str, content: str | None, message: str
) -> None:
    (exported / file).unlink()
    if content is not None:
        (exported / file).write_text(content)
    with pytest.raises(RunError, match=message) as error:
        load_encoder(f"run:{exported}")
    assert error.value.hint


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown kind of encoder 'towerz'\. Did you mean 'towers'"):
        encoder_from_spec({"kind": "towerz"})
