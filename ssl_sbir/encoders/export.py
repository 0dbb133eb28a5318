"""Encoders as folders: model.safetensors, config.json (the architecture) and preprocess.json."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.encoders.rebuild import encoder_from_spec
from ssl_sbir.errors import EncoderError, RunError
from ssl_sbir.files import atomic_folder

EXPORT_AGAIN_HINT = "The folder is damaged or another version's: export the run again, or name another one."


def save_encoder(encoder: Encoder, folder: Path, write_extra: Callable[[Path], None] | None = None) -> None:
    """Writes an encoder's weights, architecture and preprocessing; `read_image_folder` is replaced as a whole.

    Args:
        encoder: what to write.
        folder: where.
        write_extra: writes what else belongs there (a text side) into the folder that will take its place.

    Raises:
        SslSbirError: the disk is full or the folder can't be written.
    """
    with atomic_folder(Path(folder)) as place:
        save_file(_copy_state_dict(encoder), place / "model.safetensors")
        for name, facts in (("config", encoder.spec), ("preprocess", encoder.preprocess.facts())):
            (place / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
        if write_extra is not None:
            write_extra(place)


def _copy_state_dict(encoder: Encoder) -> dict[str, Tensor]:
    # Copies: safetensors takes neither channels-last strides nor memory that two names share.
    return {name: value.detach().cpu().contiguous().clone() for name, value in encoder.state_dict().items()}


def load_exported(folder: Path) -> Encoder:
    """The encoder that `save_encoder` wrote there, bit for bit, in evaluation mode.

    Its `classifier()` is None: an ImageNet head doesn't belong to weights that were trained on.

    Raises:
        RunError: a file is missing or damaged, or a tensor is missing, extra or of another shape.
    """
    folder = Path(folder)
    spec, stated = _read_encoder_json(folder / "config.json"), _read_encoder_json(folder / "preprocess.json")
    try:
        encoder, preprocess = encoder_from_spec(spec), Preprocess.from_facts(stated)
        agrees = encoder.with_fit(preprocess.fit).preprocess == preprocess
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{folder}: config.json or preprocess.json is no encoder's ({error!r})", EXPORT_AGAIN_HINT
        ) from error
    except EncoderError as error:
        raise RunError(f"{folder / 'config.json'}: {error.message}", error.hint) from error
    if not agrees:
        raise RunError(f"{folder}: preprocess.json and config.json disagree", EXPORT_AGAIN_HINT)
    _load_encoder_weights(encoder, folder / "model.safetensors")
    return encoder.eval()


def _read_encoder_json(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RunError(
            f"{path.parent} holds no exported encoder: {path.name} is missing",
            "Give a finished run's folder (it holds model/), or finish it with --resume.",
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} can't be read: {error}", EXPORT_AGAIN_HINT) from error
    if not isinstance(facts, dict):
        raise RunError(f"{path} holds no JSON object", EXPORT_AGAIN_HINT)
    return facts


def _load_encoder_weights(encoder: Encoder, path: Path) -> None:
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} can't be read: {error}", EXPORT_AGAIN_HINT) from error
    wrong = describe_tensor_mismatch(found, encoder.state_dict())
    if wrong:
        raise RunError(f"{path}: {wrong}", EXPORT_AGAIN_HINT)
    encoder.load_state_dict(found)


def describe_tensor_mismatch(loaded: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """What is wrong with some tensors, naming the first of each kind; empty where nothing is."""
    shapes = [
        f"{name} has shape {list(loaded[name].shape)} instead of {list(expected[name].shape)}"
        for name in expected.keys() & loaded.keys()
        if loaded[name].shape != expected[name].shape
    ]
    parts = (
        _format_first_mismatch("tensor missing", sorted(expected.keys() - loaded.keys())),
        _format_first_mismatch("unexpected tensor", sorted(loaded.keys() - expected.keys())),
        _format_first_mismatch("wrong shape", sorted(shapes)),
    )
    return "; ".join(part for part in parts if part)


def _format_first_mismatch(what: str, names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{what}: {names[0]}{more}" if names else ""
