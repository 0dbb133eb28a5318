"""The run folder: settings, provenance, metrics and model of one training run."""

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ssl_sbir.errors import EncoderError, RunError
from ssl_sbir.files import atomic_folder, translate_write_errors, write_atomic
from ssl_sbir.renamed_settings import find_renamed_keys, translate_settings

if TYPE_CHECKING:
    from ssl_sbir.encoders import Encoder
    from ssl_sbir.fusion import TextTower, VocabularySide

PROVENANCE_FILE = "provenance.json"
IMAGES_FILE = "images.npy"
DAMAGED_RUN_HINT = "The run is damaged: train it again."


@dataclass(frozen=True)
class RunFolder:
    """One run on disk.

    Layout: `config.yaml`, `provenance.json`, `images.npy`, `metrics.jsonl`, `checkpoints/step-*/`, `model/`,
    `evaluate/<split>/`, `explain/`.
    """

    path: Path

    @classmethod
    def open(cls, path: Path | str) -> "RunFolder":
        """The run in that folder.

        Raises:
            RunError: there is no such folder, or it is not a run folder.
        """
        path = Path(path)
        if not path.is_dir():
            raise RunError(
                f"no run folder at {path}", "Name the folder that a training command wrote (--out)."
            )
        if not (path / PROVENANCE_FILE).is_file():
            raise RunError(f"{path} is not a run folder: it has no {PROVENANCE_FILE}", "Name a run's folder.")
        return cls(path)

    @classmethod
    def create(
        cls,
        path: Path,
        config_yaml: str,
        provenance: Mapping[str, Any],
        *,
        images: NDArray[np.int64] | None = None,
        overwrite: bool = False,
    ) -> "RunFolder":
        """A new run folder with its configuration and provenance, written whole or not at all.

        Args:
            path: the folder; with `overwrite`, an existing run there is removed once the new one is written.
            config_yaml: the settings.
            provenance: command, versions, hashes of data and split, and so on.
            images: the images that training sees, as hashes of their pixels (`ssl_sbir.data.pixel_hashes`).
            overwrite: whether to replace an existing run.

        Raises:
            RunError: the folder holds a run (and `overwrite` is off) or other files.
        """
        check_run_not_taken(path, overwrite=overwrite)
        with atomic_folder(path) as folder:
            (folder / "config.yaml").write_text(config_yaml, encoding="utf-8")
            (folder / PROVENANCE_FILE).write_text(_format_run_json(provenance), encoding="utf-8")
            if images is not None:
                np.save(folder / IMAGES_FILE, np.unique(images), allow_pickle=False)
        return cls(path)

    @property
    def config(self) -> dict[str, Any]:
        """The settings the run was made with; those of a run of an earlier version under their present names.

        Raises:
            RunError: a file of the run is missing or damaged.
        """
        return translate_settings(self._recipe_name(), self._read_config())

    def renamed_keys(self) -> dict[str, str]:
        """The keys of its settings that an earlier version called otherwise, each with its present name.

        Raises:
            RunError: a file of the run is missing or damaged.
        """
        return find_renamed_keys(self._recipe_name(), self._read_config())

    def _recipe_name(self) -> str:
        return str(self.provenance.get("recipe", ""))

    def _read_config(self) -> dict[str, Any]:
        path = self.path / "config.yaml"
        try:
            return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise RunError(f"cannot read {path}: {error}", DAMAGED_RUN_HINT) from error

    @property
    def provenance(self) -> dict[str, Any]:
        """Command, versions, data and split hashes, seed and device."""
        return read_run_json(self.path / PROVENANCE_FILE)

    @property
    def is_finished(self) -> bool:
        """Whether the run ended and exported its model."""
        return (self.path / "model" / "model.safetensors").is_file()

    def encoder(self) -> "Encoder":
        """The exported encoder.

        Raises:
            RunError: the run is unfinished or its model is damaged.
        """
        from ssl_sbir.encoders import load_exported

        if not self.is_finished:
            raise RunError(f"{self.path} has no model yet: the run is unfinished", "Finish it with --resume.")
        return load_exported(self.path / "model")

    @property
    def takes_text(self) -> bool:
        """Whether a query of the exported model may hold text."""
        return bool(self.text_kind)

    @property
    def text_kind(self) -> str:
        """`vocabulary`, or the kind of the fusion that was trained; empty for a run that takes no text.

        Raises:
            RunError: the text side is damaged.
        """
        from ssl_sbir.fusion.export_text_side import read_text_kind
        from ssl_sbir.fusion.vocabulary_tower import VOCABULARY_KIND

        exported = read_text_kind(self.path / "model")
        return exported or (VOCABULARY_KIND if self._recoverable_checkpoint is not None else "")

    @property
    def _recoverable_checkpoint(self) -> Path | None:
        """The last checkpoint, if a text side can be made from it: that of a run made before runs exported one."""
        from ssl_sbir.fusion.recover_text_side import holds_teacher_head

        last = list_checkpoints(self.path / "checkpoints")[-1:]
        if not last or not self.is_finished or not holds_teacher_head(last[0]):
            return None
        return last[0] if self.config.get("distillation") else None

    def vocabulary_side(self) -> "VocabularySide | None":
        """The directions of a vocabulary's classes in the photos' space; None where texts are read in another way.

        Raises:
            RunError: the text side is damaged.
            EncoderError: the run exports none itself, and its teacher is unavailable.
        """
        from ssl_sbir.fusion.export_text_side import load_vocabulary_side, read_text_kind
        from ssl_sbir.fusion.recover_text_side import recover_text_side
        from ssl_sbir.fusion.vocabulary_tower import VOCABULARY_KIND

        if kind := read_text_kind(self.path / "model"):
            return load_vocabulary_side(self.path / "model") if kind == VOCABULARY_KIND else None
        checkpoint = self._recoverable_checkpoint
        return recover_text_side(checkpoint, str(self.config.get("teacher", ""))) if checkpoint else None

    def encoder_with_teacher(
        self, encoder: "Encoder | None" = None
    ) -> "tuple[Encoder, VocabularySide] | None":
        """The exported encoder with its teacher's code beside its own, by which texts find more, and its text side.

        None for a run that recalls no teacher, or whose teacher is unavailable; stderr says so.

        Args:
            encoder: the run's encoder where it is loaded already.

        Raises:
            RunError: the model is damaged.
        """
        from ssl_sbir.fusion.put_teacher_beside import put_teacher_beside

        config = self.config
        try:
            side = self.vocabulary_side() if "teacher_size" in config else None
            if side is None:
                return None
            return put_teacher_beside(
                encoder or self.encoder(), side, config["teacher"], config["teacher_size"]
            )
        except EncoderError as error:
            print(
                f"{self.path}: its teacher is left out, so texts find less: {error.message}", file=sys.stderr
            )
            return None

    def text_tower(self, encoder: "Encoder | None" = None, device: str = "cpu") -> "TextTower":
        """The text side of the exported model: sentences to vectors in the photos' space, and fused queries.

        Args:
            encoder: the run's encoder where it is loaded already; `fuse` embeds drawings with it.
            device: where the text side computes.

        Raises:
            RunError: the run takes no text, or its model is damaged.
            EncoderError: its text encoder is unavailable.
        """
        from ssl_sbir.fusion import load_text_tower

        encoder = encoder or self.encoder()
        side = self.vocabulary_side()
        if side is None:
            return load_text_tower(self.path / "model", encoder, device)
        return side.load_tower(encoder, device)

    def add_provenance(self, **facts: Any) -> None:
        """Adds facts to the provenance."""
        write_atomic(self.path / PROVENANCE_FILE, _format_run_json({**self.provenance, **facts}))

    def trained_images(self) -> NDArray[np.int64]:
        """The hashes of the images that training saw, sorted; empty if the run has none on record."""
        try:
            return np.load(self.path / IMAGES_FILE, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return np.zeros(0, np.int64)

    def log_metrics(self, facts: Mapping[str, Any]) -> None:
        """Appends one line to `metrics.jsonl`.

        Raises:
            SslSbirError: the file can't be written.
        """
        path = self.path / "metrics.jsonl"
        with translate_write_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`; a line cut off by a crash is left out."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [facts for line in lines if (facts := _parse_metrics_line(line)) is not None]

    def forget_metrics_after(self, step: int) -> None:
        """Removes the lines logged after a step, so that a resumed run logs each step once."""
        lines = [json.dumps(facts) for facts in self.read_metrics() if facts["step"] <= step]
        write_atomic(self.path / "metrics.jsonl", "".join(line + "\n" for line in lines))


def _parse_metrics_line(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


def check_run_not_taken(path: Path, *, overwrite: bool) -> None:
    """Makes sure that a new run may be written to `path`; with `overwrite`, in place of an older one.

    Raises:
        RunError: a run lies there and `overwrite` is off, or other files do.
    """
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    if not (path / PROVENANCE_FILE).is_file():
        raise RunError(
            f"{path} already holds something that is not a run", "Choose another folder with --out."
        )
    if not overwrite:
        raise RunError(
            f"{path} already holds a run ({describe_run(RunFolder(path))}).",
            f"Resume it: --resume    Start over: --overwrite    Elsewhere: --out {_free_path(path)}",
        )


def describe_run(run: RunFolder) -> str:
    """A short description of a run: whether and when it ended, its recipe and its split."""
    facts = run.provenance
    marker = run.path / ("model" if run.is_finished else PROVENANCE_FILE)
    state = "finished" if run.is_finished else "unfinished, last written"
    split = (facts.get("split") or {}).get("name")
    method = f"{facts.get('recipe', 'unknown recipe')}" + (f" on {split}" if split else "")
    return f"{state} {_format_age(time.time() - marker.stat().st_mtime)} ago, {method}"


def list_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in a folder, oldest first."""
    checkpoints = [path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdecimal()]
    return sorted(checkpoints, key=lambda path: int(path.name.removeprefix("step-")))


def read_run_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}", DAMAGED_RUN_HINT) from error


def _format_run_json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=1, ensure_ascii=False, default=str) + "\n"


def _free_path(path: Path) -> Path:
    number = 2
    while (free := path.with_name(f"{path.name}-{number}")).exists():
        number += 1
    return free


def _format_age(seconds: float) -> str:
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {unit}" + ("s" if count > 1 else "")
    return "a moment"
