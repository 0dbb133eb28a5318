"""Encoders as folders: model.safetensors, config.json (the architecture) and preprocess.json."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.encoders.model_folder import (
    CONFIG_FILE,
    EXPORT_AGAIN_HINT,
    load_model_weights,
    read_json_object,
    write_json_object,
    write_model_files,
)
from ssl_sbir.encoders.rebuild import encoder_from_spec
from ssl_sbir.errors import EncoderError, RunError
from ssl_sbir.files import atomic_folder

PREPROCESS_FILE = "preprocess.json"


def save_encoder(encoder: Encoder, folder: Path, write_extra: Callable[[Path], None] | None = None) -> None:
    """Writes an encoder's weights, architecture and preprocessing; `folder` is replaced as a whole.

    Args:
        encoder: what to write.
        folder: where.
        write_extra: writes what else belongs there (a text side) into the folder that becomes `folder`.

    Raises:
        SslSbirError: the disk is full or the folder can't be written.
    """
    with atomic_folder(Path(folder)) as draft:
        write_model_files(draft, encoder, encoder.spec)
        write_json_object(draft / PREPROCESS_FILE, encoder.preprocess.facts())
        if write_extra is not None:
            write_extra(draft)


def load_exported(folder: Path) -> Encoder:
    """The encoder that `save_encoder` wrote there, bit for bit, in evaluation mode.

    Its `classifier()` is None: after training, the ImageNet head no longer fits the weights.

    Raises:
        RunError: a file is missing or damaged, or a tensor is missing, extra or of another shape.
    """
    folder = Path(folder)
    spec, stated = _read_encoder_json(folder / CONFIG_FILE), _read_encoder_json(folder / PREPROCESS_FILE)
    try:
        encoder, preprocess = encoder_from_spec(spec), Preprocess.from_facts(stated)
        agrees = encoder.with_fit(preprocess.fit).preprocess == preprocess
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunError(
            f"{folder}: config.json or preprocess.json is no encoder's ({error!r})", EXPORT_AGAIN_HINT
        ) from error
    except EncoderError as error:
        raise RunError(f"{folder / CONFIG_FILE}: {error.message}", error.hint) from error
    if not agrees:
        raise RunError(f"{folder}: preprocess.json and config.json disagree", EXPORT_AGAIN_HINT)
    load_model_weights(encoder, folder)
    return encoder.eval()


def _read_encoder_json(path: Path) -> dict[str, Any]:
    missing = RunError(
        f"{path.parent} holds no exported encoder: {path.name} is missing",
        "Give a finished run's folder (it holds model/), or finish it with --resume.",
    )
    return read_json_object(path, missing)
