from itertools import permutations

import pytest
import torch

from ssl_sbir.explain.text.word_contributions import (
    find_phrases,
    split_words,
    text_counterfactuals,
    word_weights,
)

WORTH = {"red": (0.3, 0.0), "cow": (0.1, 0.4), "sleeping": (0.05, 0.02), "meadow": (0.0, 0.1)}


def score(texts):
    """Two results; "red" counts double beside "cow"; an unknown word counts nothing."""
    rows = []
    for text in texts:
        words = text.split()
        value = torch.tensor([0.2, 0.1]) + sum(
            (torch.tensor(WORTH.get(word, (0.0, 0.0))) for word in words), torch.zeros(2)
        )
        if "red" in words and "cow" in words:
            value = value + torch.tensor([0.3, 0.0])
        rows.append(value)
    return torch.stack(rows)


def slow_shapley(words, result):
    total = dict.fromkeys(range(len(words)), 0.0)
    orders = list(permutations(range(len(words))))
    for order in orders:
        for n, word in enumerate(order):
            before = " ".join(words[k] for k in sorted(order[:n]))
            after = " ".join(words[k] for k in sorted(order[: n + 1]))
            values = score([before, after])[:, result]
            total[word] += (values[1] - values[0]).item() / len(orders)
    return [total[n] for n in range(len(words))]


@pytest.mark.parametrize("result", [0, 1])
def test_weights_equal_the_mean_over_all_orders_and_sum_to_the_text(result):
    text = "a red sleeping cow"
    found = word_weights(score, text)[result]
    assert [one.text for one in found.words] == text.split()
    assert [one.shapley for one in found.words] == pytest.approx(slow_shapley(text.split(), result), abs=1e-6)
    assert sum(one.shapley for one in found.words) == pytest.approx(found.text, abs=1e-6)
    whole = score([text])[0, result].item()
    assert found.drawing + found.text == pytest.approx(whole, abs=1e-6)
    assert found.error == 0


def test_ablation_is_what_leaving_a_word_out_takes_away():
    words = {one.text: one for one in word_weights(score, "red cow")[0].words}
    assert words["red"].ablation == pytest.approx(0.6)
    assert words["cow"].ablation == pytest.approx(0.4)


def test_a_long_text_is_sampled_and_still_sums():
    text = "red cow sleeping meadow one two three four five six"
    found = word_weights(score, text, samples=200)[0]
    assert sum(one.shapley for one in found.words) == pytest.approx(found.text, abs=1e-6)
    weights = {one.text: one.shapley for one in found.words}
    assert weights["red"] == pytest.approx(0.45, abs=max(4 * found.error, 0.02))
    assert weights["five"] == pytest.approx(0, abs=1e-6)


def test_the_error_of_sampled_weights_falls_with_the_root_of_the_samples():
    text = "red cow sleeping meadow one two three four five six"
    few, many = (word_weights(score, text, samples=samples)[0].error for samples in (40, 640))
    assert many == pytest.approx(few / 4, rel=0.3)


def test_all_texts_are_scored_in_one_call():
    calls = []

    def counted(texts):
        calls.append(len(texts))
        return score(texts)

    word_weights(counted, "a red cow on a meadow")
    assert len(calls) == 1
    assert calls[0] == 2**6


def test_phrases_are_runs_between_binding_words():
    words = split_words("a sleeping red cow on the green meadow, alone")
    assert [" ".join(words[a:b]) for a, b in find_phrases(words)] == [
        "sleeping red cow",
        "green meadow, alone",
    ]
    found = word_weights(score, "sleeping cow on meadow")[1]
    assert [phrase.text for phrase in found.phrases] == ["sleeping cow"]
    assert found.phrases[0].ablation == pytest.approx(0.42)


def test_changes_that_bring_another_order():
    found = {one.change: one for one in text_counterfactuals(score, "red cow", ["meadow"])}
    assert found["without “red”"].first == 1
    assert found["without “cow”"].first == 0
    assert found["without any text"].moved == 0
    assert found["with “meadow” instead"].text == "meadow"
    assert text_counterfactuals(score, "cow")[0].change == "without any text"


def test_unknown_words_weigh_nothing_and_no_text_has_no_words():
    assert all(one.shapley == 0 for one in word_weights(score, "qwzx <b>&amp;</b>")[0].words)
    empty = word_weights(score, "")[0]
    assert empty.words == ()
    assert empty.text == 0
    assert text_counterfactuals(score, "") == []
