"""Explains queries against one gallery, which is embedded once."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ssl_sbir.data.class_names import printable_name
from ssl_sbir.data.manifest import Domain, Manifest
from ssl_sbir.encoders.encoder import Encoder
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.attribution.encoded_images import Centres, EncodedImages, encode_images
from ssl_sbir.explain.attribution.stroke_importance import load_vector_strokes
from ssl_sbir.explain.faithfulness.trust_verdict import TrustAssessment
from ssl_sbir.explain.pair.examine_maps import examine_trust
from ssl_sbir.explain.pair.explain_pairs import explain_pairs
from ssl_sbir.explain.pair.explanation import Explanation
from ssl_sbir.explain.pair.why_not import PhotoContrast, contrast_photos
from ssl_sbir.explain.report.plain_words import describe_contrast
from ssl_sbir.explain.run.explained_gallery import (
    PhotoGallery,
    best_indices,
    build_photo_gallery,
    cosine_to_photos,
)
from ssl_sbir.explain.run.query_drawing import QueryDrawing, find_drawing, find_one_key
from ssl_sbir.explain.run.query_explanation import SearchExplanation
from ssl_sbir.explain.text.concept_vocabulary import Vocabulary
from ssl_sbir.explain.text.nearest_concepts import find_pair_concepts
from ssl_sbir.explain.text.query_text import FuseSketchTexts
from ssl_sbir.explain.text.word_contributions import Counterfactual, text_counterfactuals, word_weights


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
        near_misses: how many photos that just missed the list are compared with the first.
        centres: vectors to subtract from each domain's embeddings.
        vocabulary: ideas to name drawing and photos by; None for none.
        semantics: a source of paths between ideas; None for none.
        fuse: makes one vector of drawing and text; None for an encoder of drawings alone.
        describe_text: what of a text was not understood, in sentences; None where nobody knows.
        sketch_share: how much the drawing counts beside a text, 0 to 1; None where nobody knows.
        device: where to compute.
    """

    encoder: Encoder
    manifest: Manifest
    classes: Collection[str] | None = None
    top: int = 5
    methods: Sequence[str] | None = None
    draws: int = 3
    near_misses: int = 3
    centres: Centres | None = None
    vocabulary: Vocabulary | None = None
    semantics: Any = None
    fuse: FuseSketchTexts | None = field(default=None, repr=False)
    describe_text: Callable[[str], Sequence[str]] | None = field(default=None, repr=False)
    sketch_share: Callable[[str], float | None] | None = field(default=None, repr=False)
    device: str = "cpu"

    @cached_property
    def gallery(self) -> PhotoGallery:
        """The photos that are searched."""
        # Channels last: an EfficientNet takes a third of the processor's time so.
        self.encoder.to(self.device).to(memory_format=torch.channels_last).eval()
        return build_photo_gallery(
            self.encoder, self.manifest, self.classes, centres=self.centres, device=self.device
        )

    def search_and_explain(
        self, query: str, text: str = "", expected: str | None = None
    ) -> SearchExplanation:
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
        asked = find_drawing(query, self.manifest)
        pixels = asked.decode_pixels(fit.size, fit.fit)
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).to(self.device).float() / 255
        sketch = encode_images(self.encoder, image[None], Domain.SKETCH, self.centres)
        vector = self.fuse(image, [text])[0] if self.fuse and text else sketch.embedding[0]
        scores = gallery.score_photos(vector)
        order = best_indices(scores, len(scores))
        places = order[: self.top]
        known = self._explain_photos(asked, sketch, image, places)
        known = self._add_concepts(self._add_word_weights(known, image, text, places), sketch, places)
        beaten = self._find_beaten(order, expected)
        return SearchExplanation(
            asked,
            pixels,
            text,
            gallery.rows[places],
            scores,
            tuple(known),
            tuple(self._contrast_with_best(sketch, [*places[:1], *beaten])) if len(beaten) else (),
            gallery.rows[beaten],
            tuple(self._find_counterfactuals(image, text, places)),
            self._assess_trust(known, image, places),
        )

    def _explain_photos(
        self, asked: QueryDrawing, sketch: EncodedImages, image: Tensor, places: npt.NDArray[np.int64]
    ) -> list[Explanation]:
        strokes = load_vector_strokes(asked.source, asked.key, sketch.image.shape[-1])
        return explain_pairs(
            self.encoder,
            image,
            self._load_photos(places),
            methods=self.methods,
            query=asked.id,
            results=[self._photo_id(int(place)) for place in places],
            centres=self.centres,
            draws=self.draws,
            strokes=None if strokes is None else strokes.to(image.device),
        )

    def _add_word_weights(
        self, known: list[Explanation], image: Tensor, text: str, places: npt.NDArray[np.int64]
    ) -> list[Explanation]:
        if not text or not known:
            return known
        weights = word_weights(self._text_scorer(image, places), text)
        return [
            replace(
                one,
                score=words.drawing + words.text,
                parts={"drawing": words.drawing, "text": words.text},
                words=words,
            )
            for one, words in zip(known, weights, strict=True)
        ]

    def _add_concepts(
        self, known: list[Explanation], sketch: EncodedImages, places: npt.NDArray[np.int64]
    ) -> list[Explanation]:
        if self.vocabulary is None or not known:
            return known
        photos = self.gallery.embeddings[torch.from_numpy(places)]
        found = find_pair_concepts(sketch.embedding[0], photos, self.vocabulary, self.semantics)
        return [replace(one, concepts=ideas) for one, ideas in zip(known, found, strict=True)]

    def _find_counterfactuals(
        self, image: Tensor, text: str, places: npt.NDArray[np.int64]
    ) -> list[Counterfactual]:
        return text_counterfactuals(self._text_scorer(image, places), text) if text and len(places) else []

    def _text_scorer(self, image: Tensor, places: npt.NDArray[np.int64]) -> Callable[[Sequence[str]], Tensor]:
        photos = self.gallery.embeddings[torch.from_numpy(places)]
        fuse = self.fuse
        assert fuse is not None

        def score_texts(changed: Sequence[str]) -> Tensor:
            vectors = fuse(image, changed)
            return torch.cosine_similarity(vectors[:, None].to(photos), photos[None], dim=-1)

        return score_texts

    def _find_beaten(self, order: npt.NDArray[np.int64], expected: str | None) -> npt.NDArray[np.int64]:
        """Places in the gallery of the expected photo, and of those that just missed the list."""
        misses = order[self.top : self.top + self.near_misses] if self.near_misses else order[:0]
        if not len(misses) and self.near_misses:
            misses = order[1:2]
        if expected is None:
            return misses
        keys = [self.manifest.keys[int(row)] for row in self.gallery.rows]
        place = find_one_key(expected, keys, "photo")
        return np.array([place, *(other for other in misses if other != place)], dtype=np.int64)

    def _contrast_with_best(
        self, sketch: EncodedImages, places: Sequence[np.int64 | int]
    ) -> list[PhotoContrast]:
        chosen = np.array(places, dtype=np.int64)
        photos = encode_images(self.encoder, self._load_photos(chosen), Domain.PHOTO, self.centres)
        method = "occlusion" if sketch.why_no_features or photos.why_no_features else "regions"
        own = cosine_to_photos(sketch.embedding[0], self.gallery.embeddings.to(sketch.embedding))
        names = [(self._photo_id(n), self.row_label(int(self.gallery.rows[n]))) for n in chosen.tolist()]
        found = contrast_photos(method, sketch, photos, own, names)
        return [replace(one, why=describe_contrast(one)) for one in found]

    def _assess_trust(
        self, known: Sequence[Explanation], image: Tensor, places: npt.NDArray[np.int64]
    ) -> TrustAssessment | None:
        if not self.draws or not known:
            return None
        return examine_trust(self.encoder, image, self._load_photos(places), known, self.centres)

    def _load_photos(self, places: npt.NDArray[np.int64]) -> Tensor:
        return self.gallery.load_images(places).to(self.device)

    def _photo_id(self, place: int) -> str:
        return printable_name(self.manifest.keys[int(self.gallery.rows[place])])

    def row_label(self, row: int) -> str | None:
        """The class of a row, None where nobody knows."""
        number = int(self.manifest.label[row])
        return self.manifest.classes[number] if number >= 0 else None
