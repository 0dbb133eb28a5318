"""The encoder that a run starts from: published or random weights, or those of an earlier run (`--from`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ssl_sbir.encoders import Encoder, has_towers, load_encoder, to_two_towers
from ssl_sbir.errors import ConfigError
from ssl_sbir.files import file_sha256
from ssl_sbir.run import RunFolder
from ssl_sbir.seeding import seed_everything
from ssl_sbir.training.settings import EncoderConfig


@dataclass(frozen=True)
class StartingRun:
    """An earlier run whose weights a run starts from, read once.

    Attributes:
        path: its folder.
        encoder: its exported encoder.
        provenance: where it came from.
        images: hashes of the images it was trained on, sorted.
        model_sha256: hash of its weights file.
    """

    path: Path
    encoder: Encoder
    provenance: Mapping[str, Any]
    images: NDArray[np.int64]
    model_sha256: str

    @classmethod
    def from_folder(cls, path: Path) -> "StartingRun":
        """The finished run in that folder.

        Raises:
            RunError: it is no run folder, or the run is unfinished or damaged.
        """
        run = RunFolder.open(path)
        encoder = run.encoder()
        digest = file_sha256(path / "model" / "model.safetensors")
        return cls(path, encoder, run.provenance, run.trained_images(), digest)

    @property
    def root_encoder(self) -> dict[str, Any]:
        """The encoder settings of the first run in the chain of starting runs."""
        return dict(self.provenance["start"])

    def class_names(self, key: str) -> set[str]:
        """Classes that it was trained on.

        Args:
            key: "trained_classes" (whose images it saw) or "labelled_classes" (whose labels it read).
        """
        return set(self.provenance.get(key, ()))

    def resolve_encoder_config(self, config: EncoderConfig, origins: Mapping[str, str]) -> EncoderConfig:
        """Encoder settings with the run's own name, weights, size, fit and towers in place of the defaults.

        Args:
            config: the settings of the new run; `towers: separate` splits a shared encoder.
            origins: where each of the new run's settings came from.

        Raises:
            ConfigError: a setting was given explicitly and the run's encoder differs from it.
        """
        values = self._encoder_values(config)
        for key, value in values.items():
            requested, origin = getattr(config, key), origins[f"encoder.{key}"]
            if requested != value and origin != "default":
                raise ConfigError(
                    f"encoder.{key} = {requested} ({origin}): {self.path} has {value}",
                    "Leave it out: with --from, the encoder is that of the run.",
                )
        return config.model_copy(update=values)

    def _encoder_values(self, config: EncoderConfig) -> dict[str, Any]:
        root = self.root_encoder
        values: dict[str, Any] = {key: root[key] for key in ("name", "pretrained") if key in root}
        values["size"] = self.encoder.preprocess.size
        if config.fit is not None:
            values["fit"] = self.encoder.preprocess.fit
        if config.towers != "separate":
            values["towers"] = "separate" if has_towers(self.encoder) else "shared"
        return values


def load_start_encoder(config: EncoderConfig, seed: int, start: StartingRun | None) -> Encoder:
    """The encoder to train, with its initial weights.

    Args:
        config: which encoder, and how images are resized for it.
        seed: decides random weights.
        start: the run that gives the weights, if any.
    """
    if start is None:
        seed_everything(seed)
        encoder = load_encoder(config.name, size=config.size, pretrained=config.pretrained)
    else:
        encoder = start.encoder
    if config.fit is not None:
        encoder = encoder.with_fit(config.fit)
    return to_two_towers(encoder) if config.towers == "separate" else encoder
