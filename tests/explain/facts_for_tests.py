"""A query's facts with every section of the page filled in, all names being the same given text."""

from dataclasses import dataclass, replace

import torch

from ssl_sbir.data.manifest import Domain
from ssl_sbir.explain import ExplainedQuery, explain_pairs, text_counterfactuals, word_weights
from ssl_sbir.explain.attribution.encoded_images import encode_images
from ssl_sbir.explain.faithfulness.trust_verdict import assess_trust
from ssl_sbir.explain.faithfulness.weight_randomization import RandomizedAgreement
from ssl_sbir.explain.pair.explanation import ExplainedResult, GalleryScores
from ssl_sbir.explain.pair.why_not import contrast_photos
from ssl_sbir.explain.report.plain_words import describe_best_match, describe_contrast
from ssl_sbir.explain.text.concept_vocabulary import Vocabulary
from ssl_sbir.explain.text.nearest_concepts import NearConcept, find_pair_concepts
from ssl_sbir.explain.text.text_answer import TextAnswer, TextMap
from ssl_sbir.explain.text.text_reading import (
    ClassContribution,
    ClassContributions,
    DefinitionMatch,
    MeantClass,
    TextReading,
)


@dataclass(frozen=True)
class NamedPath:
    """A path as a graph of concepts gives it."""

    nodes: tuple
    relations: tuple
    directions: tuple = (1, -1)
    weights: tuple = (0.9, 0.2)
    similarity: float = 0.05

    def in_words(self):
        return " — ".join(self.nodes)


@dataclass(frozen=True)
class NamedGraph:
    name: str

    def path(self, one, other):
        return NamedPath((one, self.name, other), (self.name, self.name))


def scored(texts):
    """Two results; a longer text is nearer to the first and further from the second."""
    return torch.tensor([[0.2 + len(text) / 500, 0.3 - len(text) / 900] for text in texts])


def whole_facts(encoder, sketch, photos, name):
    """Two results with words, ideas, a path, tests, a contrast, changes of the text and warnings."""
    text = f"{name} red cow"
    known = explain_pairs(encoder, sketch, photos, query=name, results=[name, name], draws=2)
    ideas = find_pair_concepts(torch.eye(3)[0], torch.eye(3)[1:], _vocabulary(name), NamedGraph(name))
    known = [
        replace(one, words=words, concepts=idea, answer=_answer(name), warnings=(*one.warnings, name))
        for one, words, idea in zip(known, word_weights(scored, text), ideas, strict=True)
    ]
    ours, theirs = (
        encode_images(encoder, sketch[None], Domain.SKETCH),
        encode_images(encoder, photos, Domain.PHOTO),
    )
    scores = torch.cosine_similarity(ours.embedding, theirs.embedding)
    lost = contrast_photos("regions", ours, theirs, scores, [(name, name)] * 2)
    return ExplainedQuery(
        name,
        name,
        describe_best_match(known, 0.1),
        GalleryScores(9, -0.2, 0.1, 0.9),
        tuple(ExplainedResult(rank, one.result, name, rank == 1, one) for rank, one in enumerate(known, 1)),
        {"methods": name, "data": name, "ideas": name, "ssl-sbir": "0", "random maps a check": "2"},
        (name,),
        text,
        tuple(replace(one, why=describe_contrast(one)) for one in lost),
        tuple(text_counterfactuals(scored, text)),
        assess_trust(
            [one.checks for one in known], [RandomizedAgreement(1.0, name, 0.1, None)], (0.8, None), 0.01
        ),
        0.5,
        TextReading(
            tuple(MeantClass(name, name, 1 / 12) for _ in range(12)),
            (DefinitionMatch(name, name, 0.9),),
            0.4,
            (NearConcept(name, 0.3, 2.0),),
            name,
            1_000,
            name,
        ),
    )


def _answer(name):
    classes = ClassContributions(
        (ClassContribution(name, 0.5, 0.2), ClassContribution(name, 0.1, -0.1)), 0.01, 998
    )
    return TextAnswer(0.11, classes, TextMap("regions", ((0.2, -0.1), (0.01, 0.0)), 1e-9))


def _vocabulary(name):
    return Vocabulary((name, f"{name} 2", f"{name} 3"), torch.eye(3), torch.eye(3), name)
