"""Search and explanation of queries over one gallery, which is embedded once."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
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
from ssl_sbir.explain.text.query_text import TextQueries
from ssl_sbir.explain.text.text_answer import TextAnswer, map_text_regions
from ssl_sbir.explain.text.word_contributions import Counterfactual, text_counterfactuals, word_weights


@dataclass(frozen=True)
class Explainer:
    """Ranks photos for drawings and texts and explains the best of them.

    Attributes:
        encoder: moved to `device` and put in evaluation mode on first use.
        manifest: holds the photos, and the drawings that are given by key or row number.
        classes: whose photos to search; None searches all.
        top: number of results to explain.
        methods: as in `explain_pairs`.
        draws: random maps that each heat map is tested against; 0 skips all tests.
        near_misses: number of photos after the last result that are contrasted with the first one.
        centres: vectors to subtract from each domain's embeddings.
        vocabulary: concepts to describe drawing and photos by; None for none.
        semantics: finds paths between concepts; None for none.
        texts: reads the queries' texts; None for an encoder without text.
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
    texts: TextQueries | None = None
    device: str = "cpu"

    @cached_property
    def gallery(self) -> PhotoGallery:
        """The photos that are searched."""
        # Channels last: an EfficientNet needs a third of the CPU time.
        self.encoder.to(self.device).to(memory_format=torch.channels_last).eval()
        return build_photo_gallery(
            self.encoder, self.manifest, self.classes, centres=self.centres, device=self.device
        )

    def search_and_explain(
        self, query: str, text: str = "", expected: str | None = None
    ) -> SearchExplanation:
        """The best photos for one query, each with its explanation.

        Args:
            query: an image file, or a sketch of the manifest by key or row number.
            text: a sentence beside the drawing.
            expected: key of a photo that should have been the first result.

        Raises:
            ExplainError: there is no such drawing, photo or method, or the encoder reads no text.
            DataError: the drawing can't be read.
        """
        texts = self._require_texts() if text else None
        gallery, preprocess = self.gallery, self.encoder.preprocess
        drawing = find_drawing(query, self.manifest)
        pixels = drawing.decode_pixels(preprocess.size, preprocess.fit)
        image = torch.from_numpy(pixels.copy()).permute(2, 0, 1).to(self.device).float() / 255
        sketch = encode_images(self.encoder, image[None], Domain.SKETCH, self.centres)
        vector = texts.query_vectors(image, [text])[0] if texts else sketch.embedding[0]
        scores = gallery.score_photos(vector)
        order = best_indices(scores, len(scores))
        best = order[: self.top]
        explanations = self._explain_photos(drawing, sketch, image, best)
        if texts:
            explanations = self._explain_text(texts, explanations, image, text, best)
        explanations = self._add_concepts(explanations, sketch, best)
        beaten = self._find_beaten(order, expected)
        return SearchExplanation(
            drawing,
            pixels,
            text,
            gallery.rows[best],
            scores,
            tuple(explanations),
            tuple(self._contrast_with_best(sketch, [*best[:1], *beaten])) if len(beaten) else (),
            gallery.rows[beaten],
            tuple(self._find_counterfactuals(texts, image, text, best)) if texts else (),
            self._assess_trust(explanations, image, best),
            texts.read_text(text, sketch.embedding[0]) if texts else None,
        )

    def search_by_text(self, text: str) -> SearchExplanation:
        """The best photos for a text without a drawing, each with its explanation.

        Raises:
            ExplainError: the encoder reads no text, or knows no word of this one.
        """
        texts = self._require_texts()
        if not texts.is_understood(text):
            raise ExplainError("the encoder knows no word of the text", "Use other words.")
        vector = texts.query_vectors(None, [text])[0]
        scores = self.gallery.score_photos(vector)
        best = best_indices(scores, self.top)
        explanations = [
            Explanation(text, self._photo_id(index), scores[index].item(), {}, (), None, ())
            for index in best.tolist()
        ]
        explanations = self._explain_text(texts, explanations, None, text, best)
        return SearchExplanation(
            None,
            None,
            text,
            self.gallery.rows[best],
            scores,
            tuple(explanations),
            (),
            best[:0],
            (),
            None,
            texts.read_text(text),
        )

    def _require_texts(self) -> TextQueries:
        if self.texts is None:
            raise ExplainError(
                "this encoder reads drawings, no text", "Leave out --text, or name a run that reads text."
            )
        return self.texts

    def _explain_photos(
        self, drawing: QueryDrawing, sketch: EncodedImages, image: Tensor, indices: npt.NDArray[np.int64]
    ) -> list[Explanation]:
        strokes = load_vector_strokes(drawing.source, drawing.key, sketch.image.shape[-1])
        return explain_pairs(
            self.encoder,
            image,
            self._load_photos(indices),
            methods=self.methods,
            query=drawing.id,
            results=[self._photo_id(int(index)) for index in indices],
            centres=self.centres,
            draws=self.draws,
            strokes=None if strokes is None else strokes.to(image.device),
        )

    def _explain_text(
        self,
        texts: TextQueries,
        explanations: list[Explanation],
        image: Tensor | None,
        text: str,
        indices: npt.NDArray[np.int64],
    ) -> list[Explanation]:
        """The explanations with what the words, the classes and the photo's regions add, with the scores of the query."""
        if not explanations:
            return explanations
        weights = word_weights(self._text_scorer(texts, image, indices), text)
        answers = self._answer_text(texts, image, text, indices)
        return [
            replace(
                one,
                score=words.drawing + words.text,
                parts={"text": words.text}
                if image is None
                else {"drawing": words.drawing, "text": words.text},
                words=words,
                answer=answer,
            )
            for one, words, answer in zip(explanations, weights, answers, strict=True)
        ]

    def _answer_text(
        self, texts: TextQueries, image: Tensor | None, text: str, indices: npt.NDArray[np.int64]
    ) -> list[TextAnswer] | list[None]:
        part = texts.text_part(image, text)
        if part is None:
            return [None] * len(indices)
        photos = self.gallery.embeddings[torch.from_numpy(indices)]
        encoded = encode_images(self.encoder, self._load_photos(indices), Domain.PHOTO, self.centres)
        return [
            TextAnswer(*answer)
            for answer in zip(
                (F.normalize(photos, dim=1) @ part.to(photos)).tolist(),
                texts.split_by_class(text, part, photos),
                map_text_regions(part, encoded),
                strict=True,
            )
        ]

    def _add_concepts(
        self, explanations: list[Explanation], sketch: EncodedImages, indices: npt.NDArray[np.int64]
    ) -> list[Explanation]:
        if self.vocabulary is None or not explanations:
            return explanations
        photos = self.gallery.embeddings[torch.from_numpy(indices)]
        concepts = find_pair_concepts(sketch.embedding[0], photos, self.vocabulary, self.semantics)
        return [replace(one, concepts=pair) for one, pair in zip(explanations, concepts, strict=True)]

    def _find_counterfactuals(
        self, texts: TextQueries, image: Tensor, text: str, indices: npt.NDArray[np.int64]
    ) -> list[Counterfactual]:
        return text_counterfactuals(self._text_scorer(texts, image, indices), text) if len(indices) else []

    def _text_scorer(
        self, texts: TextQueries, image: Tensor | None, indices: npt.NDArray[np.int64]
    ) -> Callable[[Sequence[str]], Tensor]:
        photos = self.gallery.embeddings[torch.from_numpy(indices)]

        def score_texts(changed: Sequence[str]) -> Tensor:
            vectors = texts.query_vectors(image, changed)
            return torch.cosine_similarity(vectors[:, None].to(photos), photos[None], dim=-1)

        return score_texts

    def _find_beaten(self, order: npt.NDArray[np.int64], expected: str | None) -> npt.NDArray[np.int64]:
        """Gallery indices of the expected photo and of those that just missed the list."""
        misses = order[self.top : self.top + self.near_misses] if self.near_misses else order[:0]
        if not len(misses) and self.near_misses:
            misses = order[1:2]
        if expected is None:
            return misses
        keys = [self.manifest.keys[int(row)] for row in self.gallery.rows]
        index = find_one_key(expected, keys, "photo")
        return np.array([index, *(other for other in misses if other != index)], dtype=np.int64)

    def _contrast_with_best(
        self, sketch: EncodedImages, indices: Sequence[np.int64 | int]
    ) -> list[PhotoContrast]:
        chosen = np.array(indices, dtype=np.int64)
        photos = encode_images(self.encoder, self._load_photos(chosen), Domain.PHOTO, self.centres)
        method = "occlusion" if sketch.why_no_features or photos.why_no_features else "regions"
        sketch_scores = cosine_to_photos(sketch.embedding[0], self.gallery.embeddings.to(sketch.embedding))
        names = [(self._photo_id(n), self.row_label(int(self.gallery.rows[n]))) for n in chosen.tolist()]
        contrasts = contrast_photos(method, sketch, photos, sketch_scores, names)
        return [replace(one, why=describe_contrast(one)) for one in contrasts]

    def _assess_trust(
        self, explanations: Sequence[Explanation], image: Tensor, indices: npt.NDArray[np.int64]
    ) -> TrustAssessment | None:
        if not self.draws or not explanations:
            return None
        return examine_trust(self.encoder, image, self._load_photos(indices), explanations, self.centres)

    def _load_photos(self, indices: npt.NDArray[np.int64]) -> Tensor:
        return self.gallery.load_images(indices).to(self.device)

    def _photo_id(self, index: int) -> str:
        return printable_name(self.manifest.keys[int(self.gallery.rows[index])])

    def row_label(self, row: int) -> str | None:
        """The class of a row of the manifest; None if unknown."""
        number = int(self.manifest.label[row])
        return self.manifest.classes[number] if number >= 0 else None
