"""Encoders as folders: model.safetensors, config.json (the architecture) and preprocess.json."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.encoders.specs import encoder_from_spec
from ssl_sbir.errors import EncoderError, RunError
from ssl_sbir.files import atomic_folder

EXPORT_AGAIN = "The folder is damaged or another version's: export the run again, or name another one."


def save_encoder(encoder: Encoder, folder: Path, beside: Callable[[Path], None] | None = None) -> None:
    """Writes an encoder's weights, architecture and preprocessing; `folder` is replaced as a whole.

    Args:
        encoder: what to write.
        folder: where.
        beside: writes what else belongs there (a text side) into the folder that will take its place.

    Raises:
        SslSbirError: the disk is full or the folder can't be written.
    """
    with atomic_folder(Path(folder)) as place:
        save_file(_weights(encoder), place / "model.safetensors")
        for name, facts in (("config", encoder.spec), ("preprocess", encoder.preprocess.facts())):
            (place / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")
        if beside is not None:
            beside(place)


def _weights(encoder: Encoder) -> dict[str, Tensor]:
    # Copies: safetensors takes neither channels-last strides nor memory that two names share.
    return {name: value.detach().cpu().contiguous().clone() for name, value in encoder.state_dict().items()}


def load_exported(folder: Path) -> Encoder:
    """The encoder that `save_encoder` wrote there, bit for bit, in evaluation mode.

    Its `classifier()` is None: an ImageNet head doesn't belong to weights that were trained on.

    Raises:
        RunError: a file is missing or damaged, or a tensor is missing, extra or of another shape.
    """
    folder = Path(folder)
    spec, stated = _facts(folder / "config.json"), _facts(folder / "preprocess.json")
    try:
        encoder, preprocess = encoder_from_spec(spec), Preprocess.of(stated)
        agrees = encoder.with_fit(preprocess.fit).preprocess == preprocess
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{folder}: config.json or preprocess.json is no encoder's ({error!r})", EXPORT_AGAIN
        ) from error
    except EncoderError as error:
        raise RunError(f"{folder / 'config.json'}: {error.message}", error.hint) from error
    if not agrees:
        raise RunError(f"{folder}: preprocess.json and config.json disagree", EXPORT_AGAIN)
    _fill(encoder, folder / "model.safetensors")
    return encoder.eval()


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise RunError(
            f"{path.parent} holds no exported encoder: {path.name} is missing",
            "Give a finished run's folder (it holds model/), or finish it with --resume.",
        ) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{path} can't be read: {error}", EXPORT_AGAIN) from error
    if not isinstance(facts, dict):
        raise RunError(f"{path} holds no JSON object", EXPORT_AGAIN)
    return facts


def _fill(encoder: Encoder, path: Path) -> None:
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} can't be read: {error}", EXPORT_AGAIN) from error
    wrong = differences(found, encoder.state_dict())
    if wrong:
        raise RunError(f"{path}: {wrong}", EXPORT_AGAIN)
    encoder.load_state_dict(found)


def differences(found: dict[str, Tensor], expected: dict[str, Tensor]) -> str:
    """What is wrong with some tensors, naming the first of each kind; empty where nothing is."""
    shapes = [
        f"{name} has shape {list(found[name].shape)} instead of {list(expected[name].shape)}"
        for name in expected.keys() & found.keys()
        if found[name].shape != expected[name].shape
    ]
    parts = (
        _first("tensor missing", sorted(expected.keys() - found.keys())),
        _first("unexpected tensor", sorted(found.keys() - expected.keys())),
        _first("wrong shape", sorted(shapes)),
    )
    return "; ".join(part for part in parts if part)


def _first(what: str, names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{what}: {names[0]}{more}" if names else ""
