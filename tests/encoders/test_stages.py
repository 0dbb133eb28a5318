"""Stages: every weight of an encoder lies in exactly one, in the order in which the image meets them."""

import pytest
import torch
from torch import nn

from ssl_sbir.encoders import (
    DomainCentredEncoder,
    DomainConditionedEncoder,
    Encoder,
    ProjectedEncoder,
    TwoTowerEncoder,
    load_encoder,
)
from ssl_sbir.encoders.stages import encoder_stages

EXPECTED = {
    "efficientnet_lite0": ["stem", *(f"blocks.{i}" for i in range(7)), "head"],
    "resnet50": ["stem", "layer1", "layer2", "layer3", "layer4"],
    "vgg16_bn": [f"convolutions.{i}" for i in range(5)],
    "timm:legacy_seresnet18": ["stem", "layer1", "layer2", "layer3", "layer4"],
    "timm:test_vit": ["stem", *(f"blocks.{i}" for i in range(6)), "head"],
    "timm:test_convnext": ["stem", *(f"stages.{i}" for i in range(4))],
}


def encoder_of(name: str) -> Encoder:
    size = 160 if name == "timm:test_vit" else 32
    return load_encoder(name, size=size, pretrained=False)


def check_whole(encoder: Encoder) -> None:
    listed = [p for stage in encoder_stages(encoder) for p in stage.parameters()]
    assert len(listed) == len(set(listed))
    assert set(listed) == set(encoder.parameters())


@pytest.mark.parametrize("name", EXPECTED)
def test_each_family_has_its_blocks_for_stages(name: str) -> None:
    encoder = encoder_of(name)
    assert [stage.name for stage in encoder_stages(encoder)] == EXPECTED[name]
    check_whole(encoder)


def test_a_hugging_face_transformer_has_its_layers() -> None:
    from transformers import ViTConfig

    from ssl_sbir.encoders.encoder import Preprocess
    from ssl_sbir.encoders.huggingface import HuggingFaceEncoder
    from ssl_sbir.encoders.huggingface_sources import build_vision_model

    config = ViTConfig(
        hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32, image_size=32
    )
    encoder = HuggingFaceEncoder({"kind": "huggingface"}, Preprocess(32), build_vision_model(config))
    names = [stage.name for stage in encoder_stages(encoder)]
    assert names[0] == "stem"
    assert [name.rpartition(".")[2] for name in names[1:4]] == ["0", "1", "2"]
    check_whole(encoder)


def test_what_is_built_on_an_encoder_comes_after_it() -> None:
    inner = DomainConditionedEncoder(encoder_of("efficientnet_lite0"))
    whole = DomainCentredEncoder(ProjectedEncoder(inner, nn.Linear(inner.width, 8)))
    assert [stage.name for stage in encoder_stages(whole)] == [*EXPECTED["efficientnet_lite0"], "linear"]
    check_whole(whole)


def test_two_towers_stand_side_by_side() -> None:
    both = TwoTowerEncoder(encoder_of("resnet50"), encoder_of("resnet50"))
    assert [stage.name for stage in encoder_stages(both)] == EXPECTED["resnet50"]
    assert len(encoder_stages(both)[0].parts) == 2 * len(encoder_stages(both.photo)[0].parts)
    check_whole(both)


def test_stages_run_in_their_order() -> None:
    encoder, called = encoder_of("efficientnet_lite0").eval(), list[str]()
    for stage in encoder_stages(encoder):
        stage.parts[0].register_forward_hook(lambda *_, name=stage.name: called.append(name))
    encoder(torch.rand(1, 3, 32, 32), torch.zeros(1, dtype=torch.long))
    assert called == EXPECTED["efficientnet_lite0"]
