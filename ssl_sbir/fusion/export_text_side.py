"""The text side of a run as a folder, `model/text/`: config.json and model.safetensors, no pickle."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ssl_sbir.encoders import Encoder, load_text_encoder
from ssl_sbir.encoders.export import EXPORT_AGAIN_HINT, describe_tensor_mismatch
from ssl_sbir.errors import RunError
from ssl_sbir.fusion.concatenation import LabelTextTower
from ssl_sbir.fusion.fusion_kinds import fusion_registry
from ssl_sbir.fusion.text_tower import TextTower

TEXT_TOWER_FOLDER = "text"


def save_text_tower(tower: TextTower, folder: Path) -> None:
    """Writes the text side into `read_image_folder`/text; the caller makes `read_image_folder` whole or absent.

    The text encoder itself isn't copied: its name and the hash of its weights are.
    """
    place = Path(folder) / TEXT_TOWER_FOLDER
    place.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in tower.state_dict().items()}
    save_file(weights, place / "model.safetensors")
    (place / "config.json").write_text(json.dumps(tower.to_spec(), indent=1) + "\n", encoding="utf-8")


def load_text_tower(folder: Path, image_encoder: Encoder, device: str = "cpu") -> TextTower:
    """The text side that `save_text_tower` wrote, in evaluation mode.

    Args:
        folder: a run's `model/`.
        image_encoder: the encoder of the same run.
        device: where it computes; the image encoder is not moved.

    Raises:
        RunError: it isn't there or is damaged, or the text encoder has other weights than in training.
        EncoderError: the text encoder can't be had.
    """
    place = Path(folder) / TEXT_TOWER_FOLDER
    spec = _read_tower_spec(place / "config.json")
    try:
        name, sha256 = spec["text_encoder"]["name"], spec["text_encoder"]["sha256"]
        width, fusion = int(spec["width"]), dict(spec["fusion"])
        kind = fusion.pop("kind")
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{place / 'config.json'} is no text side's ({error!r})", EXPORT_AGAIN_HINT) from error
    encoder = load_text_encoder(name, device=device)
    if encoder.sha256 != sha256:
        raise RunError(
            f"{place}: trained with another text encoder than the '{name}' that is here",
            f"It had sha256 {sha256[:12]}…, this one {encoder.sha256[:12]}…: install the same release.",
        )
    if kind == LabelTextTower.kind:
        tower: TextTower = LabelTextTower(encoder, image_encoder, width)
    else:
        head = nn.Linear(encoder.width, width)
        tower = TextTower(encoder, image_encoder, head, fusion_registry.get(kind)(width, **fusion))
    _load_tower_weights(tower, place / "model.safetensors")
    return tower.to(device).eval()


def _read_tower_spec(path: Path) -> dict[str, Any]:
    try:
        spec = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RunError(
            f"{path.parents[2]} takes no text",
            "Train one that does: ssl-sbir finetune multimodal --from RUN …",
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} can't be read: {error}", EXPORT_AGAIN_HINT) from error
    if not isinstance(spec, dict):
        raise RunError(f"{path} holds no JSON object", EXPORT_AGAIN_HINT)
    return spec


def _load_tower_weights(tower: nn.Module, path: Path) -> None:
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} can't be read: {error}", EXPORT_AGAIN_HINT) from error
    if wrong := describe_tensor_mismatch(found, tower.state_dict()):
        raise RunError(f"{path}: {wrong}", EXPORT_AGAIN_HINT)
    tower.load_state_dict(found)
