"""The text side of a run as a folder, `model/text/`: config.json and model.safetensors, no pickle."""

from pathlib import Path
from typing import Any

from torch import nn

from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.encoders.load_text import load_text_encoder
from ssl_sbir.encoders.model_folder import (
    CONFIG_FILE,
    EXPORT_AGAIN_HINT,
    load_model_weights,
    read_json_object,
    write_model_files,
)
from ssl_sbir.errors import RunError
from ssl_sbir.fusion.concatenation import LabelTextTower
from ssl_sbir.fusion.fusion_registry import create_fusion
from ssl_sbir.fusion.text_tower import TextTower
from ssl_sbir.fusion.vocabulary_tower import VocabularySide

TEXT_TOWER_FOLDER = "text"


def save_text_tower(side: TextTower | VocabularySide, folder: Path) -> None:
    """Writes the text side into `folder`/text; the caller replaces `folder` as a whole.

    Of the text encoder, only its name is written, and if it was trained with, the hash of its weights.
    """
    text_folder = Path(folder) / TEXT_TOWER_FOLDER
    text_folder.mkdir(parents=True, exist_ok=True)
    write_model_files(text_folder, side, side.to_spec())


def load_text_tower(folder: Path, image_encoder: Encoder, device: str = "cpu") -> TextTower:
    """The text side that `save_text_tower` wrote, in evaluation mode.

    Args:
        folder: a run's `model/`.
        image_encoder: the encoder of the same run.
        device: where it computes; the image encoder is not moved.

    Raises:
        RunError: it is missing or damaged, or the text encoder has other weights than in training.
        EncoderError: the text encoder is unavailable.
    """
    text_folder = Path(folder) / TEXT_TOWER_FOLDER
    spec = _read_tower_spec(text_folder / CONFIG_FILE)
    try:
        name, sha256 = spec["text_encoder"]["name"], spec["text_encoder"]["sha256"]
        width, fusion = int(spec["width"]), dict(spec["fusion"])
        kind = fusion.pop("kind")
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged_config_error(text_folder, error) from error
    encoder = load_text_encoder(name, device=device)
    if encoder.sha256 != sha256:
        raise RunError(
            f"{text_folder}: trained with another text encoder than the installed '{name}'",
            f"It had sha256 {sha256[:12]}…, this one {encoder.sha256[:12]}…: install the same release.",
        )
    if kind == LabelTextTower.kind:
        tower: TextTower = LabelTextTower(encoder, image_encoder, width)
    else:
        head = nn.Linear(encoder.width, width)
        tower = TextTower(encoder, image_encoder, head, create_fusion(kind, width, **fusion))
    load_model_weights(tower, text_folder)
    return tower.to(device).eval()


def read_text_kind(folder: Path) -> str:
    """`vocabulary`, or the kind of fusion, of the text side that `save_text_tower` wrote; empty without one.

    Raises:
        RunError: its config is damaged.
    """
    path = Path(folder) / TEXT_TOWER_FOLDER / CONFIG_FILE
    if not path.is_file():
        return ""
    spec = _read_tower_spec(path)
    kind = spec.get("kind") or (spec.get("fusion") or {}).get("kind")
    if not kind:
        raise _damaged_config_error(path.parent, KeyError("kind"))
    return str(kind)


def load_vocabulary_side(folder: Path) -> VocabularySide:
    """The vocabulary with its directions that `save_text_tower` wrote.

    Args:
        folder: a run's `model/`, or an index.

    Raises:
        RunError: it is missing or damaged.
    """
    text_folder = Path(folder) / TEXT_TOWER_FOLDER
    spec = _read_tower_spec(text_folder / CONFIG_FILE)
    try:
        side = VocabularySide.from_spec(spec)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged_config_error(text_folder, error) from error
    load_model_weights(side, text_folder)
    return side


def _damaged_config_error(text_folder: Path, error: Exception) -> RunError:
    return RunError(f"{text_folder / CONFIG_FILE} is not a text side's config ({error!r})", EXPORT_AGAIN_HINT)


def _read_tower_spec(path: Path) -> dict[str, Any]:
    missing = RunError(
        f"{path.parents[2]} takes no text", "Train one that does: ssl-sbir finetune multimodal --from RUN …"
    )
    return read_json_object(path, missing)
