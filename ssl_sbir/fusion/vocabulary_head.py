"""From a text to a direction in an encoder's own space, through the words of a classifier, without any label of the data."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ssl_sbir.encoders.class_vocabulary import ClassVocabulary
from ssl_sbir.fusion.reverse_dictionary import ReverseDictionary

CLASS_TEMPERATURE = 0.05  # of the softmax over classes
KEPT_CLASSES = 20  # the classes that a text means at most
DESCRIPTION_SHARE = 0.7  # of the dictionary, in how a text that is a description is read


def centre_class_rows(weight: Float[Tensor, "classes d"]) -> Float[Tensor, "classes d"]:
    """A classifier's rows less their mean: what speaks for one class rather than for any."""
    rows = weight.detach().float()
    return rows - rows.mean(0)


class VocabularyHead(nn.Module):
    """Vectors of a text encoder as directions in the photos' space.

        U(text) = softmax(cos(text, description of class i) / temperature)     over the n classes of a classifier
        W(text) = the largest of (1 − g) U(text) + g Σⱼ p(wordⱼ | text) U(wordⱼ)  words of a dictionary, by definition
        q(text) = Σᵢ (Wᵢ − 1/n) · rowᵢ                                         rowᵢ: the classifier's, centred

    The score of a photo is linear in W: the sum of what each class adds. It is ConSE turned round (M. Norouzi et al.,
    Zero-Shot Learning by Convex Combination of Semantic Embeddings, ICLR 2014), which maps a photo's distribution over
    the classes into the space of texts; this maps a text's into that of photos. The dictionary is ours: a sentence
    that describes a thing is nearer to the thing's definition than to its name, and g, at most .7, is how much.

    Args:
        vocabulary: the classes in words.
        rows: the direction of each class in the photos' space.
        descriptions: unit vectors of the text encoder, one a class (`embed_vocabulary`).
        dictionary: None to take the classes' own descriptions alone.
        temperature: of the softmax over classes.
    """

    rows: Tensor
    descriptions: Tensor

    def __init__(
        self,
        vocabulary: ClassVocabulary,
        rows: Float[Tensor, "classes d"],
        descriptions: Float[Tensor, "classes words"],
        dictionary: ReverseDictionary | None,
        temperature: float = CLASS_TEMPERATURE,
    ) -> None:
        super().__init__()
        self.vocabulary, self.temperature = vocabulary, temperature
        self.register_buffer("rows", rows.detach().float())
        # Not persistent: they follow from the vocabulary and the text encoder.
        self.register_buffer("descriptions", descriptions.detach().float(), persistent=False)
        self.dictionary = dictionary

    def class_weights(self, words: Float[Tensor, "b words"]) -> Float[Tensor, "b classes"]:
        """How much each class of the vocabulary is meant by each text; each row sums to 1, with at most 20 above 0."""
        words = words.to(self.descriptions)
        weights = self._similar_classes(words)
        if self.dictionary is not None:
            entries = self.dictionary.find_entries(words)
            by_entry = self._similar_classes(entries.names.flatten(0, 1)).unflatten(0, entries.weights.shape)
            share = self.dictionary_share(words)[:, None]
            weights = (1 - share) * weights + share * (entries.weights[:, :, None] * by_entry).sum(1)
        largest = weights.topk(min(KEPT_CLASSES, weights.shape[1]), dim=1)
        kept = torch.zeros_like(weights).scatter_(1, largest.indices, largest.values)
        return kept / kept.sum(1, keepdim=True)

    def dictionary_share(self, words: Float[Tensor, "b words"]) -> Float[Tensor, " b"]:
        """How much of each text's weights comes from the dictionary, 0 to .7."""
        if self.dictionary is None:
            return words.new_zeros(len(words))
        return DESCRIPTION_SHARE * self.dictionary.description_degree(words.to(self.descriptions))

    def _similar_classes(self, words: Float[Tensor, "b words"]) -> Float[Tensor, "b classes"]:
        return (words @ self.descriptions.T / self.temperature).softmax(-1)

    def closest_similarity(self, words: Float[Tensor, "b words"]) -> Float[Tensor, " b"]:
        """The cosine of each text with the class or dictionary entry that it is nearest to."""
        words = words.to(self.descriptions)
        closest = (words @ self.descriptions.T).amax(1)
        if self.dictionary is None:
            return closest
        return torch.maximum(closest, self.dictionary.closest_similarity(words))

    def centred_weights(self, words: Float[Tensor, "b words"]) -> Float[Tensor, "b classes"]:
        """The class weights less those of a text that means any class alike, 1/n each."""
        return self.class_weights(words) - 1 / len(self.vocabulary)

    def forward(self, words: Float[Tensor, "b words"]) -> Float[Tensor, "b d"]:
        """A direction in the photos' space for each text, not normalised."""
        return self.centred_weights(words) @ self.rows

    def class_contributions(
        self, words: Float[Tensor, " words"], photos: Float[Tensor, "k d"]
    ) -> Float[Tensor, "k classes"]:
        """What each class adds to the cosine of a text with unit vectors of photos; its sum over classes is the cosine."""
        weights = self.centred_weights(words[None])[0]
        length = (weights @ self.rows).norm().clamp(min=1e-12)
        return weights * (photos.to(self.rows) @ self.rows.T) / length
