"""What a sentence asks for and what it asks not to see.

Text encoders hardly read negation: "not a cartoon" lies beside "a cartoon". So the refused part is cut out of the
sentence here and becomes a vector of its own, which the query is moved away from.
"""

import re

# A refusal runs from its word to the end of the clause.
_NEGATED_CLAUSE = re.compile(
    r"(?:\s*[,;]?\s*\b(?:but|and)\b)?\s*\b(?:not|no|without|excluding|except(?:\s+for)?)\b\s+"
    r"(?P<what>[^,.;:!?]*?)(?=\s*(?:[,.;:!?]|\bbut\b|\band\s+(?:with|in|on|a|an|the|not|no|without)\b|$))",
    re.IGNORECASE,
)
_NEGATION_IDIOMS = re.compile(r"\b(?:not only|no longer|not necessarily|without a doubt)\b", re.IGNORECASE)


def split_negations(text: str) -> tuple[str, tuple[str, ...]]:
    """What a sentence asks for, and each thing that it refuses.

    It knows the words not, no, without, except and excluding, up to the end of their clause; it doesn't know grammar.

    >>> asked_and_refused("a cat on a sofa, not a cartoon")
    ('a cat on a sofa', ('a cartoon',))
    >>> asked_and_refused("without people")
    ('', ('people',))
    """
    text = " ".join(text.split())  # runs of white space would make the search for refusals slow
    if _NEGATION_IDIOMS.search(text):
        return text, ()
    refused = tuple(
        found["what"].strip() for found in _NEGATED_CLAUSE.finditer(text) if found["what"].strip()
    )
    rest = _NEGATED_CLAUSE.sub(" ", text) if refused else text
    return " ".join(rest.split()).strip(" ,;:"), refused
