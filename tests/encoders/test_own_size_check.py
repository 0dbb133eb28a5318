"""An encoder is refused unless an image of its own size gives a finite feature of its width."""

import pytest
import torch
import transformers

from ssl_sbir.encoders import Encoder, Preprocess
from ssl_sbir.encoders.backbone import check_own_size
from ssl_sbir.encoders.huggingface import HuggingFaceEncoder, huggingface_encoder_from_spec
from ssl_sbir.encoders.torchvision_models import TORCHVISION_WIDTHS, torchvision_encoder
from ssl_sbir.errors import EncoderError

VIT = {
    "model_type": "vit", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
    "intermediate_size": 32, "image_size": 32, "patch_size": 8,
}  # fmt: skip


class ConstantEncoder(Encoder):
    """Gives one value at every position of a map."""

    def __init__(self, value: float) -> None:
        super().__init__({}, Preprocess(8), 4)
        self.value = value

    def feature_map(self, image, domain):
        if image.shape[-1] != 8:
            raise ValueError("only 8 px")
        return torch.full((len(image), 4, 2, 2), self.value)


def test_a_wrong_width_and_infinite_features_are_refused() -> None:
    encoder = ConstantEncoder(1.0).train()
    check_own_size(encoder, "own", 8)
    assert encoder.training
    with pytest.raises(EncoderError, match=r"encoder 'own' gives features that are not finite"):
        check_own_size(ConstantEncoder(float("nan")), "own", 8)
    encoder.preprocess = Preprocess(16)
    with pytest.raises(EncoderError, match=r"can't take images of 16 × 16 px \(only 8 px\)") as error:
        check_own_size(encoder, "own", 8)
    assert "the 8 px of its pretraining" in error.value.hint


def test_torchvision_models_are_checked(monkeypatch) -> None:
    monkeypatch.setitem(TORCHVISION_WIDTHS, "resnet50", 2047)
    with pytest.raises(
        EncoderError, match=r"'resnet50' gives features of shape \[2048\] instead of \[2047\]"
    ):
        torchvision_encoder("resnet50", size=32, pretrained=False)


def test_hugging_face_models_are_checked(monkeypatch) -> None:
    spec = {"model": "some/vit", "config": VIT, "preprocess": Preprocess(32).facts()}
    assert huggingface_encoder_from_spec(spec).width == 32
    monkeypatch.setattr(transformers.ViTModel, "forward", lambda self, **_: _output(float("inf")))
    monkeypatch.setattr(HuggingFaceEncoder, "_patch_grid", lambda *_: (4, 4))
    with pytest.raises(EncoderError, match="'hf:some/vit' gives features that are not finite"):
        huggingface_encoder_from_spec(spec)


def _output(value: float) -> object:
    return transformers.modeling_outputs.BaseModelOutput(last_hidden_state=torch.full((1, 17, 32), value))
