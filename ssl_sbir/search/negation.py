"""Splits a sentence into what it asks for and what it excludes.

Text encoders hardly understand negation: "not a cartoon" lies beside "a cartoon". So the negated part is cut out of
the sentence here and becomes a vector of its own, which the query is moved away from.
"""

import re

# A negation runs from its word to the end of the clause.
_NEGATED_CLAUSE = re.compile(
    r"(?:\s*[,;]?\s*\b(?:but|and)\b)?\s*\b(?:not|no|without|excluding|except(?:\s+for)?)\b\s+"
    r"(?P<what>[^,.;:!?]*?)(?=\s*(?:[,.;:!?]|\bbut\b|\band\s+(?:with|in|on|a|an|the|not|no|without)\b|$))",
    re.IGNORECASE,
)
_NEGATION_IDIOMS = re.compile(r"\b(?:not only|no longer|not necessarily|without a doubt)\b", re.IGNORECASE)


def split_negations(text: str) -> tuple[str, tuple[str, ...]]:
    """The positive part of a sentence, and each thing that it negates.

    It knows the words not, no, without, except and excluding, up to the end of their clause; it knows no grammar.

    >>> split_negations("a cat on a sofa, not a cartoon")
    ('a cat on a sofa', ('a cartoon',))
    >>> split_negations("without people")
    ('', ('people',))
    """
    text = " ".join(text.split())  # runs of white space would make the search for negations slow
    if _NEGATION_IDIOMS.search(text):
        return text, ()
    negated = tuple(
        clause["what"].strip() for clause in _NEGATED_CLAUSE.finditer(text) if clause["what"].strip()
    )
    rest = _NEGATED_CLAUSE.sub(" ", text) if negated else text
    return " ".join(rest.split()).strip(" ,;:"), negated
