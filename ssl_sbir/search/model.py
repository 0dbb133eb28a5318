"""The model of a search: a run or a named encoder, with its text side where it has one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from ssl_sbir.fusion import GatedFusion, LabelTextTower, LateFusion, VocabularySide
from ssl_sbir.fusion.open_text_side import NO_TEXT_SIDE_HINT, classifier_text_side, open_text_side
from ssl_sbir.fusion.vocabulary_tower import VOCABULARY_KIND
from ssl_sbir.gallery.base import unit_vectors
from ssl_sbir.run import PROVENANCE_FILE, RunFolder

# Kinds of text side by which a drawing alone is embedded as without them.
TEXT_KINDS_BESIDE_DRAWINGS = (VOCABULARY_KIND, LateFusion.kind, GatedFusion.kind)


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
        text_encoder: a text side through which drawings without text pass, too; None for any other.
        open_text_encoder: loads the text side when a query first holds text; None for a model without text.
        open_vocabulary: the classes by which texts are read, without a text encoder; None where texts are read in
            another way.
        without_teacher: the variant without the teacher's code; None where there is none beside.
    """

    name: str
    encoder: Encoder
    device: str
    text_encoder: TextQueryEncoder | None = None
    open_text_encoder: Callable[[], TextQueryEncoder] | None = None
    open_vocabulary: Callable[[], VocabularySide | None] | None = None
    without_teacher: "SearchModel | None" = None

    @classmethod
    def load(
        cls, model: "str | Path | Encoder | RunFolder", device: str = "cpu", *, with_teacher: bool = True
    ) -> "SearchModel":
        """The model of a run folder, a run, an encoder's name, or an encoder.

        Args:
            model: what to load.
            device: where to compute.
            with_teacher: for a run that recalls a teacher, embed photos by the teacher too: texts find more, and
                indexing takes longer.

        Raises:
            RunError, EncoderError: it can't be loaded.
            GalleryError: it embeds photos together with the text of their labels, so unlabelled photos can't be searched.
        """
        if isinstance(model, Encoder):
            return cls._from_encoder(str(model.spec.get("name", "encoder")), model, device)
        name = str(model.path if isinstance(model, RunFolder) else model)
        if not (Path(name) / PROVENANCE_FILE).is_file():
            return cls._from_encoder(name, load_encoder(name), device)
        return cls._from_run(RunFolder.open(name), device, with_teacher=with_teacher)

    @classmethod
    def _from_encoder(cls, name: str, encoder: Encoder, device: str) -> "SearchModel":
        encoder = encoder.to(device).eval()
        if not encoder.text_source:
            return cls(name, encoder, device)
        return cls(
            name,
            encoder,
            device,
            open_text_encoder=lambda: open_text_side(encoder, name),
            open_vocabulary=lambda: classifier_text_side(encoder),
        )

    @classmethod
    def _from_run(cls, run: RunFolder, device: str, *, with_teacher: bool) -> "SearchModel":
        kind, encoder = run.text_kind, run.encoder().to(device).eval()
        if kind == LabelTextTower.kind:
            raise GalleryError(
                f"{run.path} embeds each photo with the text of its label: unlabelled photos can't be searched with it",
                "Choose another run.",
            )
        model = cls(str(run.path.absolute()), encoder, device)
        if not kind:
            return model
        if kind not in TEXT_KINDS_BESIDE_DRAWINGS:
            return replace(model, text_encoder=run.text_tower(encoder, device))
        model = replace(
            model,
            open_text_encoder=lambda: run.text_tower(encoder, device),
            open_vocabulary=run.vocabulary_side,
        )
        beside = run.encoder_with_teacher(encoder) if with_teacher else None
        if beside is None:
            return model
        both, side = beside
        return replace(model.with_vocabulary(side, both.to(device).eval()), without_teacher=model)

    def with_vocabulary(self, side: VocabularySide, encoder: Encoder | None = None) -> "SearchModel":
        """This model, with texts read by the words of another vocabulary, and perhaps with another encoder."""
        encoder = encoder or self.encoder
        return replace(
            self,
            encoder=encoder,
            text_encoder=None,
            open_text_encoder=lambda: side.load_tower(encoder, self.device),
            open_vocabulary=lambda: side,
        )

    def for_index(self, facts: dict[str, Any]) -> "SearchModel":
        """The variant of this model that an index was made with: with or without the teacher's code beside its own.

        Args:
            facts: of the index.
        """
        wanted, plain = (facts.get("model") or {}).get("sha256"), self.without_teacher
        return plain if plain is not None and wanted == plain.sha256 else self

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
            EncoderError: its text encoder is unavailable.
        """
        return self.text_side(list(texts)).float().cpu()

    @torch.no_grad()
    def fuse(
        self, images: Float[Tensor, "b 3 s s"], texts: Sequence[str], weights: tuple[float, float] | None
    ) -> dict[str, Float[Tensor, "b d"]]:
        """The parts of queries of a drawing and a text each: `sketch` and `text`.

        Raises:
            QueryError: the model has no text side.
            EncoderError: its text encoder is unavailable.
        """
        query = self.text_side.fuse(sketch=images.to(self.device), text=list(texts), weights=weights)
        parts = {"sketch": query.sketch, "text": query.text}
        return {name: part.detach().float().cpu() for name, part in parts.items() if part is not None}

    def text_notes(self, texts: Sequence[str]) -> list[str]:
        """What is doubtful about how texts are read, a sentence each."""
        if not self.reads_text or not texts:
            return []
        describe = getattr(self.text_side, "describe_doubts", None)
        lines = [line for text in texts for line in describe(text)] if describe else []
        return [f"The text: {line}." for line in lines]

    @cached_property
    def vocabulary_side(self) -> VocabularySide | None:
        """The classes by which texts are read, with their directions; None where texts are read in another way."""
        return None if self.open_vocabulary is None else self.open_vocabulary()

    def text_side_facts(self) -> dict[str, Any] | None:
        """What a text's vector depends on, with the hash of all of it; None where the text side doesn't say."""
        describe = getattr(self.text_side, "facts", None) if self.reads_text else None
        return describe() if describe else None

    @property
    def reads_text(self) -> bool:
        """Whether a query may hold text."""
        return self.text_encoder is not None or self.open_text_encoder is not None

    @cached_property
    def text_side(self) -> TextQueryEncoder:
        """The text side, loaded once.

        Raises:
            QueryError: the model has none.
            EncoderError: its text encoder is unavailable.
        """
        if self.text_encoder is not None:
            return self.text_encoder
        if self.open_text_encoder is None:
            raise QueryError(f"{self.name} reads images, not text", NO_TEXT_SIDE_HINT)
        return self.open_text_encoder()
