"""The model of a search: a run or a named encoder, with the run's text side where it has one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders import Encoder, load_encoder
from ssl_sbir.encoders.embed import encoder_sha256
from ssl_sbir.errors import GalleryError, QueryError
from ssl_sbir.gallery.base import unit_vectors
from ssl_sbir.run import PROVENANCE_FILE, RunFolder

NO_TEXT_HINT = "Leave the text out, or use a run that was trained with text (ssl-sbir recipes list)."


@runtime_checkable
class TextQueryEncoder(Protocol):
    """The text side of a run; `fuse` returns a vector for each query and the parts that add up to it."""

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [t, d] of texts in the photos' space."""

    def fuse(self, sketch: Any = None, text: Any = None, weights: Any = None) -> Any:
        """Query vectors of drawings with texts: `vector` [b, d], and its parts `sketch` and `text`."""


@dataclass(frozen=True, eq=False)
class SearchModel:
    """Embeds photos and queries.

    Attributes:
        name: a run's folder or an encoder's name; `load` accepts it.
        encoder: on its device, in evaluation mode.
        device: where it computes.
        text_encoder: the text side; None for a model without text.
    """

    name: str
    encoder: Encoder
    device: str
    text_encoder: TextQueryEncoder | None = None

    @classmethod
    def load(cls, model: "str | Path | Encoder | RunFolder", device: str = "cpu") -> "SearchModel":
        """The model of a run folder, a run, an encoder's name, or an encoder.

        Raises:
            RunError, EncoderError: it can't be loaded.
            GalleryError: it embeds photos together with the text of their labels, so unlabelled photos can't be searched.
        """
        if isinstance(model, Encoder):
            return cls(str(model.spec.get("name", "encoder")), model.to(device).eval(), device)
        name = str(model.path if isinstance(model, RunFolder) else model)
        if not (Path(name) / PROVENANCE_FILE).is_file():
            return cls(name, load_encoder(name).to(device).eval(), device)
        run = RunFolder.open(name)
        encoder = run.encoder().to(device).eval()
        text_tower = run.text_tower(encoder, device) if run.takes_text else None
        if text_tower is not None and text_tower.reads_labels:
            raise GalleryError(
                f"{name} embeds each photo with the text of its label: unlabelled photos can't be searched with it",
                "Choose another run.",
            )
        return cls(str(Path(name).absolute()), encoder, device, text_tower)

    @cached_property
    def sha256(self) -> str:
        """The hex sha256 of the encoder that embeds photos."""
        return encoder_sha256(self.encoder)

    def facts(self) -> dict[str, Any]:
        """Name and hash, as an index stores them."""
        return {"name": self.name, "sha256": self.sha256}

    def check_index_model(self, index: Path, facts: dict[str, Any]) -> None:
        """Makes sure that an index holds this model's vectors.

        Args:
            index: its folder, for the message.
            facts: of the index.

        Raises:
            GalleryError: it holds another model's.
        """
        stored = facts.get("model") or {}
        if stored.get("sha256") != self.sha256:
            raise GalleryError(
                f"{index} was made with another model: {stored.get('name', 'unknown')} "
                f"(sha {str(stored.get('sha256'))[:8]}), not {self.name} (sha {self.sha256[:8]})",
                "Search with that model, or index again from scratch: ssl-sbir index … --overwrite",
            )

    @torch.no_grad()
    def embed_images(self, images: Float[Tensor, "b 3 s s"], domain: Domain) -> Float[Tensor, "b d"]:
        """Unit vectors of images in 0..1."""
        domains = torch.full((len(images),), int(domain), device=self.device)
        return unit_vectors(self.encoder(images.to(self.device), domains).float().cpu())

    @torch.no_grad()
    def embed_sketch(self, images: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b d"]:
        """Unit vectors of drawings without text, through the run's fusion where it has one."""
        if self.text_encoder is None:
            return self.embed_images(images, Domain.SKETCH)
        return unit_vectors(self.text_encoder.fuse(sketch=images.to(self.device)).vector.float().cpu())

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "b d"]:
        """Unit vectors of texts in the photos' space.

        Raises:
            QueryError: the model has no text side.
        """
        return self._require_text_encoder()(list(texts)).float().cpu()

    @torch.no_grad()
    def fuse(
        self, images: Float[Tensor, "b 3 s s"], texts: Sequence[str], weights: tuple[float, float] | None
    ) -> dict[str, Float[Tensor, "b d"]]:
        """The parts of queries of a drawing and a text each: `sketch` and `text`.

        Raises:
            QueryError: the model has no text side.
        """
        query = self._require_text_encoder().fuse(
            sketch=images.to(self.device), text=list(texts), weights=weights
        )
        parts = {"sketch": query.sketch, "text": query.text}
        return {name: part.detach().float().cpu() for name, part in parts.items() if part is not None}

    def text_notes(self, texts: Sequence[str]) -> list[str]:
        """What the text encoder truncated, ignored or corrected, a sentence each."""
        notes = getattr(getattr(self.text_encoder, "encoder", None), "notes", None)
        lines = [line for text in texts for line in notes([text])] if notes else []
        return [f"The text: {line}." for line in lines]

    def _require_text_encoder(self) -> TextQueryEncoder:
        if self.text_encoder is None:
            raise QueryError(f"{self.name} reads images, not text", NO_TEXT_HINT)
        return self.text_encoder
