"""Corrections of misspelt words."""

from collections.abc import Iterator, Mapping

LETTERS = "abcdefghijklmnopqrstuvwxyz"
MIN_CORRECTED_LENGTH = 4  # letters; shorter words are one letter away from too many others


def correct_spelling(word: str, word_ranks: Mapping[str, int]) -> str | None:
    """The most frequent known word one edit away, or None if there is none or the word is too short.

    Args:
        word: an unknown word in lower case.
        word_ranks: rank of each known word, frequent ones first.
    """
    if len(word) < MIN_CORRECTED_LENGTH or not word.isalpha():
        return None
    return min(
        (w for w in words_one_edit_away(word) if w in word_ranks), key=word_ranks.__getitem__, default=None
    )


def words_one_edit_away(word: str) -> Iterator[str]:
    """All strings that differ from a word by a letter added, removed or replaced, or by two neighbours exchanged.

    Source: P. Norvig, How to Write a Spelling Corrector, 2007.
    """
    for index in range(len(word) + 1):
        left, right = word[:index], word[index:]
        if right:
            yield left + right[1:]
        if len(right) > 1:
            yield left + right[1] + right[0] + right[2:]
        for letter in LETTERS:
            yield left + letter + right
            if right:
                yield left + letter + right[1:]
