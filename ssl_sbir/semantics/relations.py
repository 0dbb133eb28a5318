"""ConceptNet's relations: each in words, and with its strength, the similarity of the concepts that it joins.

The strengths are ours; 1 would mean identity. Negated relations and links out of the language have strength 0.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """A relation in words, and its strength at weight 1 (one person's statement), 0 to below 1."""

    words: str
    strength: float


CONCEPTNET_RELATIONS = {
    "Synonym": Relation("is the same as", 0.95),
    "FormOf": Relation("is a form of", 0.95),
    "IsA": Relation("is a", 0.8),
    "InstanceOf": Relation("is a", 0.8),
    "SimilarTo": Relation("is similar to", 0.8),
    "DefinedAs": Relation("is defined as", 0.8),
    "InheritsFrom": Relation("inherits from", 0.8),
    "MannerOf": Relation("is a way to", 0.6),
    "PartOf": Relation("is part of", 0.5),
    "HasA": Relation("has", 0.5),
    "DerivedFrom": Relation("is derived from", 0.5),
    "RelatedTo": Relation("is related to", 0.4),
    "MadeOf": Relation("is made of", 0.4),
    "LocatedNear": Relation("is near", 0.4),
    "AtLocation": Relation("is found at", 0.3),
    "UsedFor": Relation("is used for", 0.3),
    "EtymologicallyRelatedTo": Relation("has a root in common with", 0.3),
    "EtymologicallyDerivedFrom": Relation("comes from the word", 0.3),
    "SymbolOf": Relation("is a symbol of", 0.3),
    "HasProperty": Relation("is", 0.25),
    "CapableOf": Relation("can", 0.25),
    "ReceivesAction": Relation("can be", 0.25),
    "HasContext": Relation("belongs to", 0.25),
    "CreatedBy": Relation("is made by", 0.25),
    "Desires": Relation("wants", 0.2),
    "Causes": Relation("causes", 0.2),
    "CausesDesire": Relation("makes one want", 0.2),
    "MotivatedByGoal": Relation("is done for", 0.2),
    "HasSubevent": Relation("includes", 0.2),
    "HasFirstSubevent": Relation("begins with", 0.2),
    "HasLastSubevent": Relation("ends with", 0.2),
    "HasPrerequisite": Relation("needs", 0.2),
    "Entails": Relation("entails", 0.2),
    "Antonym": Relation("is the opposite of", 0.0),
    "DistinctFrom": Relation("is not", 0.0),
    "ObstructedBy": Relation("is prevented by", 0.0),
    "ExternalURL": Relation("is described at", 0.0),
}
DEFAULT_RELATION_STRENGTH = 0.2


def relation_of(name: str) -> Relation:
    """The relation of a name; one that isn't in the table is spelt out in words and has strength .2.

    >>> relation_of("IsA").words, relation_of("NotIsA").strength, relation_of("LocationOfAction").words
    ('is a', 0.0, 'location of action')
    """
    bare = name.rsplit("/", 1)[-1]
    if bare in CONCEPTNET_RELATIONS:
        return CONCEPTNET_RELATIONS[bare]
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", bare).lower()
    return Relation(words, 0.0 if bare.startswith("Not") else DEFAULT_RELATION_STRENGTH)
