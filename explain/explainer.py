"""Explains queries against one gallery, which is embedded once."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.data.names import printable
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.answer import Answer
from ssl_sbir.explain.concepts import concepts_of
from ssl_sbir.explain.contrast import Contrast, contrasts
from ssl_sbir.explain.drawings import Drawing, drawing, one_key
from ssl_sbir.explain.examination import examined
from ssl_sbir.explain.explanation import Explanation
from ssl_sbir.explain.gallery import PhotoGallery, best, cosines, photo_gallery
from ssl_sbir.explain.pairs import explain_pairs
from ssl_sbir.explain.query_words import Counterfactual, counterfactuals, word_weights
from ssl_sbir.explain.strokes import vector_pieces
from ssl_sbir.explain.texts import Fuse
from ssl_sbir.explain.towers import Centres, Tower, tower
from ssl_sbir.explain.trust import Trust
from ssl_sbir.explain.vocabulary import Vocabulary
from ssl_sbir.explain.words import contrast_words


@dataclass(frozen=True)
class Explainer:
    """Ranks photos for drawings and explains the best of them.

    Attributes:
        encoder: on its device, in evaluation mode.
        manifest: holds the photos, and the drawings that are given by key.
        classes: whose photos to search; None searches all.
        top: how many results to explain.
        methods: as in `explain_pairs`.
        draws: random maps that each heat map is tested against; 0 leaves all tests out.
        misses: how many photos that just missed the list are compared with the first.
        centres: vectors to subtract from each domain's embeddings.
        vocabulary: ideas to name drawing and photos by; None for none.
        semantics: a source of paths between ideas; None for none.
        fuse: makes one vector of drawing and text; None for an encoder of drawings alone.
        notes: what of a text was not understood, in sentences; None where nobody knows.
        share: how much the drawing counts beside a text, 0 to 1; None where nobody knows.
        device: where to compute.
    """

    encoder: Encoder
    manifest: Manifest
    classes: Collection[str] | None = None
    top: int = 5
    methods: Sequence[str] | None = None
    draws: int = 3
    misses: int = 3
    centres: Centres | None = None
    vocabulary: Vocabulary | None = None
    semantics: Any = None
    fuse: Fuse | None = field(default=None, repr=False)
    notes: Callable[[str], Sequence[str]] | None = field(default=None, repr=False)
    share: Callable[[str], float | None] | None = field(default=None, repr=False)
    device: str = "cpu"

    @cached_property
    def gallery(self) -> PhotoGallery:
        """The photos that are searched."""
        # Channels last: an EfficientNet takes a third of the processor's time so.
        self.encoder.to(self.device).to(memory_format=torch.channels_last).eval()
        return photo_gallery(
            self.encoder, self.manifest, self.classes, centres=self.centres, device=self.device
        )

    def answer(self, query: str, text: str = "", expected: str | None = None) -> Answer:
        """The best photos for one query and why each of them came back.

        Args:
            query: an image file, or a sketch of the manifest by key or row number.
            text: a sentence beside the drawing.
            expected: key of a photo that should have come first.

        Raises:
            ExplainError: there is no such drawing, photo or method, or the encoder reads no text.
            DataError: the drawing can't be read.
        """
        if text and self.fuse is None:
            raise ExplainError(
                "this encoder reads drawings, no text", "Leave out --text, or name a run with text."
            )
        gallery, fit = self.gallery, self.encoder.preprocess
        asked = drawing(query, self.manifest)
        pixels = asked.pixels(fit.size, fit.fit)
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).to(self.device).float() / 255
        sketch = tower(self.encoder, image[None], Domain.SKETCH, self.centres)
        vector = self.fuse(image, [text])[0] if self.fuse and text else sketch.embedding[0]
        scores = gallery.scores(vector)
        order = best(scores, len(scores))
        places = order[: self.top]
        known = self._explained(asked, sketch, image, places)
        known = self._with_ideas(self._with_words(known, image, text, places), sketch, places)
        beaten = self._beaten(order, expected)
        return Answer(
            asked,
            pixels,
            text,
            gallery.rows[places],
            scores,
            tuple(known),
            tuple(self._contrasts(sketch, [*places[:1], *beaten])) if len(beaten) else (),
            gallery.rows[beaten],
            tuple(self._changes(image, text, places)),
            self._trust(known, image, places),
        )

    def _explained(
        self, asked: Drawing, sketch: Tower, image: Tensor, places: npt.NDArray[np.int64]
    ) -> list[Explanation]:
        strokes = vector_pieces(asked.source, asked.key, sketch.image.shape[-1])
        return explain_pairs(
            self.encoder,
            image,
            self._photos(places),
            methods=self.methods,
            query=asked.id,
            results=[self._id(int(place)) for place in places],
            centres=self.centres,
            draws=self.draws,
            strokes=None if strokes is None else strokes.to(image.device),
        )

    def _with_words(
        self, known: list[Explanation], image: Tensor, text: str, places: npt.NDArray[np.int64]
    ) -> list[Explanation]:
        if not text or not known:
            return known
        weights = word_weights(self._score(image, places), text)
        return [
            replace(
                one,
                score=words.drawing + words.text,
                parts={"drawing": words.drawing, "text": words.text},
                words=words,
            )
            for one, words in zip(known, weights, strict=True)
        ]

    def _with_ideas(
        self, known: list[Explanation], sketch: Tower, places: npt.NDArray[np.int64]
    ) -> list[Explanation]:
        if self.vocabulary is None or not known:
            return known
        photos = self.gallery.embeddings[torch.from_numpy(places)]
        found = concepts_of(sketch.embedding[0], photos, self.vocabulary, self.semantics)
        return [replace(one, concepts=ideas) for one, ideas in zip(known, found, strict=True)]

    def _changes(self, image: Tensor, text: str, places: npt.NDArray[np.int64]) -> list[Counterfactual]:
        return counterfactuals(self._score(image, places), text) if text and len(places) else []

    def _score(self, image: Tensor, places: npt.NDArray[np.int64]) -> Callable[[Sequence[str]], Tensor]:
        photos = self.gallery.embeddings[torch.from_numpy(places)]
        fuse = self.fuse
        assert fuse is not None

        def score(changed: Sequence[str]) -> Tensor:
            vectors = fuse(image, changed)
            return torch.cosine_similarity(vectors[:, None].to(photos), photos[None], dim=-1)

        return score

    def _beaten(self, order: npt.NDArray[np.int64], expected: str | None) -> npt.NDArray[np.int64]:
        """Places in the gallery of the expected photo, and of those that just missed the list."""
        misses = order[self.top : self.top + self.misses] if self.misses else order[:0]
        if not len(misses) and self.misses:
            misses = order[1:2]
        if expected is None:
            return misses
        keys = [self.manifest.keys[int(row)] for row in self.gallery.rows]
        place = one_key(expected, keys, "photo")
        return np.array([place, *(other for other in misses if other != place)], dtype=np.int64)

    def _contrasts(self, sketch: Tower, places: Sequence[np.int64 | int]) -> list[Contrast]:
        chosen = np.array(places, dtype=np.int64)
        photos = tower(self.encoder, self._photos(chosen), Domain.PHOTO, self.centres)
        method = "occlusion" if sketch.lacks or photos.lacks else "regions"
        own = cosines(sketch.embedding[0], self.gallery.embeddings.to(sketch.embedding))
        names = [(self._id(n), self.label(int(self.gallery.rows[n]))) for n in chosen.tolist()]
        found = contrasts(method, sketch, photos, own, names)
        return [replace(one, why=contrast_words(one)) for one in found]

    def _trust(
        self, known: Sequence[Explanation], image: Tensor, places: npt.NDArray[np.int64]
    ) -> Trust | None:
        if not self.draws or not known:
            return None
        return examined(self.encoder, image, self._photos(places), known, self.centres)

    def _photos(self, places: npt.NDArray[np.int64]) -> Tensor:
        return self.gallery.images(places).to(self.device)

    def _id(self, place: int) -> str:
        return printable(self.manifest.keys[int(self.gallery.rows[place])])

    def label(self, row: int) -> str | None:
        """The class of a row, None where nobody knows."""
        number = int(self.manifest.label[row])
        return self.manifest.classes[number] if number >= 0 else None
