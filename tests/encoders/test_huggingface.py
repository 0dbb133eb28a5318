"""Hugging Face vision models out of local folders, each with small random weights."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from ssl_sbir.encoders import load_encoder, load_exported, save_encoder
from ssl_sbir.errors import EncoderError

BOTH = torch.tensor([0, 1])
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
IMAGE = {"image_size": 32, "patch_size": 8}
WORDS = {**SMALL, "vocab_size": 9, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}

MODELS = {
    "vit": lambda: transformers.ViTModel(transformers.ViTConfig(**SMALL, **IMAGE)),
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**SMALL, **IMAGE)),
    "siglip": lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**SMALL, **IMAGE)),
    "clip": lambda: transformers.CLIPModel(
        transformers.CLIPConfig(text_config={**WORDS}, vision_config={**SMALL, **IMAGE}, projection_dim=20)
    ),
    "resnet": lambda: transformers.ResNetModel(
        transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 32], depths=[1, 1])
    ),
    "swin": lambda: transformers.SwinModel(
        transformers.SwinConfig(
            image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4
        )
    ),
}


def saved(kind: str, folder: Path) -> torch.nn.Module:
    model = MODELS[kind]().eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize(
    ("kind", "width"),
    [("vit", 32), ("dinov2", 32), ("siglip", 32), ("clip", 20), ("resnet", 32), ("swin", 32)],
)
@torch.no_grad()
def test_the_feature_is_the_models_own(kind: str, width: int, tmp_path: Path) -> None:
    model = saved(kind, tmp_path / "model-of-theirs")
    encoder = load_encoder(f"hf:{tmp_path / 'model-of-theirs'}", size=32)
    image = torch.rand(2, 3, 32, 32)
    pixels = encoder.normalize_image(image)
    own = {
        "vit": lambda: model(pixels).last_hidden_state[:, 0],
        "dinov2": lambda: model(pixels).pooler_output,
        "siglip": lambda: model(pixels).pooler_output,
        "clip": lambda: model.visual_projection(model.vision_model(pixels).pooler_output),
        "resnet": lambda: model(pixels).pooler_output[:, :, 0, 0],
        "swin": lambda: model(pixels).pooler_output,
    }[kind]()
    torch.testing.assert_close(encoder(image, BOTH), own)
    assert encoder.width == width
    assert encoder.feature_map(image, BOTH).shape[:2] == (2, width)
    save_encoder(encoder, tmp_path / "model")
    assert torch.equal(load_exported(tmp_path / "model")(image, BOTH), encoder(image, BOTH))
    assert str(tmp_path) not in (tmp_path / "model" / "config.json").read_text()


@torch.no_grad()
def test_another_size_interpolates_the_positions(tmp_path: Path) -> None:
    saved("vit", tmp_path)
    encoder = load_encoder(f"hf:{tmp_path}", size=48)
    assert encoder.feature_map(torch.rand(2, 3, 48, 48), BOTH).shape == (2, 32, 6, 6)
    with pytest.raises(EncoderError, match="patches of 8 × 8 px, which don't fill an image of 50 px"):
        load_encoder(f"hf:{tmp_path}", size=50)


def test_the_image_processor_is_read(tmp_path: Path) -> None:
    saved("vit", tmp_path)
    assert load_encoder(f"hf:{tmp_path}").preprocess.size == 32
    facts = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "size": {"height": 64, "width": 64}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(facts))
    found = load_encoder(f"hf:{tmp_path}").preprocess
    assert (found.size, found.mean, found.std) == (64, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_weights_are_whole_and_from_safetensors(tmp_path: Path) -> None:
    saved("vit", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop(next(name for name in tensors if "layernorm.weight" in name))
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(EncoderError, match=r"1 tensors are missing, the first is layernorm\.weight"):
        load_encoder(f"hf:{tmp_path}")
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="can't be loaded"):
        load_encoder(f"hf:{tmp_path}")


def test_a_text_model_is_refused(tmp_path: Path) -> None:
    transformers.BertModel(transformers.BertConfig(**WORDS)).save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match="'bert' is no vision model"):
        load_encoder(f"hf:{tmp_path}")
