"""The run folder: everything a run left behind, readable without running anything."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ssl_sbir.errors import RunError
from ssl_sbir.files import atomic_folder, translate_write_errors, write_atomic

if TYPE_CHECKING:
    from ssl_sbir.encoders import Encoder
    from ssl_sbir.fusion import TextTower

PROVENANCE_FILE = "provenance.json"
IMAGES_FILE = "images.npy"


@dataclass(frozen=True)
class RunFolder:
    """One run on disk.

    Layout: `config.yaml`, `provenance.json`, `images.npy`, `metrics.jsonl`, `checkpoints/step-*/`, `model/`,
    `evaluate/<split>/`, `explain/`.
    """

    path: Path

    @classmethod
    def open(cls, path: Path | str) -> "RunFolder":
        """The run that lies in that folder.

        Raises:
            RunError: there is no folder, or it isn't a run's.
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
        """A new run folder with its configuration and provenance; whole or not there at all.

        Args:
            path: of the folder; with `overwrite`, a run that lies there is taken away once the new one is whole.
            config_yaml: the settings.
            provenance: where it comes from.
            images: which images training sees, by the hashes of their pixels (`ssl_sbir.data.pixel_hashes`).
            overwrite: whether to replace another run.

        Raises:
            RunError: the folder is taken by a run (and `overwrite` is off) or by other files.
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
        """The settings the run was made with.

        Raises:
            RunError: the file is missing or damaged.
        """
        path = self.path / "config.yaml"
        try:
            return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise RunError(f"cannot read {path}: {error}", "The run is damaged: make it anew.") from error

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
        from ssl_sbir.encoders import load_exported  # the encoders' room reads run folders too

        if not self.is_finished:
            raise RunError(f"{self.path} has no model yet: the run is unfinished", "Finish it with --resume.")
        return load_exported(self.path / "model")

    @property
    def takes_text(self) -> bool:
        """Whether a query of the exported model may hold text."""
        return (self.path / "model" / "text" / "config.json").is_file()

    def text_tower(self, encoder: "Encoder | None" = None, device: str = "cpu") -> "TextTower":
        """How the exported model reads text: sentences to vectors in the photos' space, and fused queries.

        Args:
            encoder: the run's encoder where it is loaded already; `fuse_queries` embeds drawings with it.
            device: where the text side computes.

        Raises:
            RunError: the run takes no text, or its model is damaged.
            EncoderError: its text encoder can't be had.
        """
        from ssl_sbir.fusion import load_text_tower

        return load_text_tower(self.path / "model", encoder or self.encoder(), device)

    def add_provenance(self, **facts: Any) -> None:
        """Writes further facts beside those of the start."""
        write_atomic(self.path / PROVENANCE_FILE, _format_run_json({**self.provenance, **facts}))

    def trained_images(self) -> NDArray[np.int64]:
        """The hashes of the images that training saw, sorted; none where the run doesn't say."""
        try:
            return np.load(self.path / IMAGES_FILE, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return np.zeros(0, np.int64)

    def log_metrics(self, facts: Mapping[str, Any]) -> None:
        """Appends one line to `metrics.jsonl`.

        Raises:
            SslSbirError: it can't be written.
        """
        path = self.path / "metrics.jsonl"
        with translate_write_errors(path), path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts) + "\n")

    def read_metrics(self) -> list[dict[str, Any]]:
        """The whole lines of `metrics.jsonl`; a line cut off by a crash is left out."""
        path = self.path / "metrics.jsonl"
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [facts for line in lines if (facts := _parse_metrics_line(line)) is not None]

    def forget_metrics_after(self, step: int) -> None:
        """Drops what was logged past a step, so that a resumed run logs each step once."""
        kept = [json.dumps(facts) for facts in self.read_metrics() if facts["step"] <= step]
        write_atomic(self.path / "metrics.jsonl", "".join(line + "\n" for line in kept))


def _parse_metrics_line(line: str) -> dict[str, Any] | None:
    try:
        return json.loads(line)
    except ValueError:
        return None


def check_run_not_taken(path: Path, *, overwrite: bool) -> None:
    """Makes sure that a new run may be written to `hypernym_path`; with `overwrite`, in place of an older one.

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
            f"Go on with it: --resume    Start over: --overwrite    Elsewhere: --out {_free_name(path)}",
        )


def describe_run(run: RunFolder) -> str:
    """A run in a few words: whether and when it ended, its recipe and its split."""
    facts = run.provenance
    marker = run.path / ("model" if run.is_finished else PROVENANCE_FILE)
    state = "finished" if run.is_finished else "unfinished, last written"
    split = (facts.get("split") or {}).get("name")
    what = f"{facts.get('recipe', 'unknown recipe')}" + (f" on {split}" if split else "")
    return f"{state} {_format_age(time.time() - marker.stat().st_mtime)} ago, {what}"


def read_run_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        RunError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"cannot read {path}: {error}", "The run is damaged: make it anew.") from error


def _format_run_json(facts: Mapping[str, Any]) -> str:
    return json.dumps(facts, indent=1, ensure_ascii=False, default=str) + "\n"


def _free_name(path: Path) -> Path:
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
