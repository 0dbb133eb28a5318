"""How much each word of a query's text adds to a score, and how changes of the text would change the order.

Works with any function that scores texts: `score(texts) -> Tensor [texts, results]`; the text "" is the drawing
alone.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from math import factorial

import torch
from jaxtyping import Float
from torch import Tensor

TextScorer = Callable[[Sequence[str]], Tensor]
# Up to this many words, Shapley values are exact: 2^8 = 256 texts.
EXACT_WORD_LIMIT = 8
SHAPLEY_SAMPLES = 24
# Function words, which end a phrase.
PHRASE_BOUNDARY_WORDS = frozenset(
    re.findall(
        r"\w+",
        "a an and as at by for from in into is its of on or that the their this to under over with without",
    )
)


@dataclass(frozen=True)
class WordWeight:
    """A word or phrase, its Shapley value, and how much the score drops without it (ablation)."""

    text: str
    shapley: float
    ablation: float


@dataclass(frozen=True)
class WordWeights:
    """How much the text adds to one result's score.

    Attributes:
        words: in the order of the text; their Shapley values sum to `text`.
        phrases: several words that belong together.
        drawing: the score of the drawing alone.
        text: how much the whole text adds to it; negative if it lowers the score.
        error: largest standard error of the Shapley values; 0 if they are exact.
    """

    words: tuple[WordWeight, ...]
    phrases: tuple[WordWeight, ...]
    drawing: float
    text: float
    error: float


@dataclass(frozen=True)
class Counterfactual:
    """A change of the text and the order of results that it would give.

    Attributes:
        change: in words, e.g. `without “red”`.
        text: the changed text.
        first: index of the new first result in the old order.
        moved: number of results whose rank changes.
    """

    change: str
    text: str
    first: int
    moved: int


def split_words(text: str) -> list[str]:
    """The words of a text, separated by spaces."""
    return re.findall(r"\S+", text)


def find_phrases(words: Sequence[str]) -> list[tuple[int, int]]:
    """Start and end of each run of two or more words without a function word between them."""
    runs, start = [], 0
    for index in range(len(words) + 1):
        if index == len(words) or words[index].strip(".,;:!?").lower() in PHRASE_BOUNDARY_WORDS:
            if index - start > 1:
                runs.append((start, index))
            start = index + 1
    return runs


def word_weights(
    score: TextScorer, text: str, *, samples: int = SHAPLEY_SAMPLES, seed: int = 0
) -> list[WordWeights]:
    """The weights of a text's words, one object for each result; all texts are scored in one call.

    Shapley values (Shapley 1953) are exact for up to eight words; for more they are means over random orders and
    their reverses.

    Args:
        score: scores texts; its second dimension is the results.
        text: the query's text; may be empty.
        samples: random orders for a long text; each is used in reverse too.
        seed: of the orders.
    """
    words = split_words(text)
    phrases = find_phrases(words)
    values, errors, score_of = _shapley_values(score, words, phrases, samples, seed)
    none, whole = score_of[()], score_of[tuple(range(len(words)))]
    word_drops = [whole - score_of[_indices_without(len(words), n, n + 1)] for n in range(len(words))]
    phrase_drops = [whole - score_of[_indices_without(len(words), *span)] for span in phrases]
    return [
        WordWeights(
            tuple(
                WordWeight(word, values[n, k].item(), word_drops[n][k].item()) for n, word in enumerate(words)
            ),
            tuple(
                WordWeight(" ".join(words[a:b]), values[a:b, k].sum().item(), drop[k].item())
                for (a, b), drop in zip(phrases, phrase_drops, strict=True)
            ),
            none[k].item(),
            (whole - none)[k].item(),
            errors[:, k].max().item() if len(words) else 0.0,
        )
        for k in range(len(none))
    ]


def text_counterfactuals(score: TextScorer, text: str, others: Sequence[str] = ()) -> list[Counterfactual]:
    """The order that each change of a text would give: without one word, without any text, or with another text.

    Args:
        score: scores texts.
        text: the query's text.
        others: further texts to try instead.
    """
    words = split_words(text)
    changes = [
        (f"without “{word}”", " ".join(words[:n] + words[n + 1 :]))
        for n, word in enumerate(words)
        if len(words) > 1
    ]
    changes += [("without any text", "")] if words else []
    changes += [(f"with “{other}” instead", other) for other in others]
    if not changes:
        return []
    orders = score([text, *(changed for _, changed in changes)]).argsort(dim=1, descending=True, stable=True)
    return [
        Counterfactual(change, changed, int(order[0]), int((order != orders[0]).sum()))
        for (change, changed), order in zip(changes, orders[1:], strict=True)
    ]


def _indices_without(count: int, start: int, end: int) -> tuple[int, ...]:
    return tuple(index for index in range(count) if not start <= index < end)


def _shapley_values(
    score: TextScorer, words: Sequence[str], phrases: Sequence[tuple[int, int]], samples: int, seed: int
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k"], dict[tuple[int, ...], Tensor]]:
    """Shapley values, their standard errors, and the scores of every set of words (as indices) that was needed."""
    count = len(words)
    orders = _random_orders(count, samples, seed)
    exact = count <= EXACT_WORD_LIMIT
    sets = (
        set(_index_subsets(count))
        if exact
        else {tuple(sorted(order[:n])) for order in orders for n in range(count + 1)}
    )
    sets |= {_indices_without(count, n, n + 1) for n in range(count)} | {
        _indices_without(count, *span) for span in phrases
    }
    listed = sorted(sets | {(), tuple(range(count))})
    scores = score([" ".join(words[index] for index in chosen) for chosen in listed]).double().cpu()
    score_of = dict(zip(listed, scores, strict=True))
    if not count:
        return scores.new_zeros(0, scores.shape[1]), scores.new_zeros(0, scores.shape[1]), score_of
    if exact:
        values = torch.stack([_exact_shapley(n, count, score_of) for n in range(count)])
        return values, torch.zeros_like(values), score_of
    gains = torch.stack([_marginal_gains(order, score_of) for order in orders])
    halves = gains.unflatten(0, (-1, 2)).mean(1)  # an order and its reverse make one independent draw
    return gains.mean(0), halves.std(0) / len(halves) ** 0.5, score_of


def _index_subsets(count: int) -> list[tuple[int, ...]]:
    return [tuple(n for n in range(count) if chosen[n]) for chosen in product((0, 1), repeat=count)]


def _exact_shapley(word: int, count: int, score_of: dict[tuple[int, ...], Tensor]) -> Tensor:
    total = torch.zeros_like(score_of[()])
    for chosen in _index_subsets(count):
        if word not in chosen:
            weight = factorial(len(chosen)) * factorial(count - len(chosen) - 1) / factorial(count)
            total += weight * (score_of[tuple(sorted((*chosen, word)))] - score_of[chosen])
    return total


def _random_orders(count: int, samples: int, seed: int) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    forward = [torch.randperm(count, generator=generator).tolist() for _ in range(max(samples, 2))]
    return [order for one in forward for order in (one, one[::-1])]


def _marginal_gains(order: list[int], score_of: dict[tuple[int, ...], Tensor]) -> Tensor:
    steps = torch.stack([score_of[tuple(sorted(order[:n]))] for n in range(len(order) + 1)])
    gains = steps[1:] - steps[:-1]
    return gains[torch.tensor(order).argsort()]
