"""Training texts without captions: names of seen classes, templates, and ConceptNet's statements."""

import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.errors import ConfigError
from ssl_sbir.semantics.unseen_guard import mentions_unseen_class

NAME_TEMPLATES = ("{}", "a photo of a {}", "a drawing of a {}")
CLAUSE_TEMPLATES = {
    "IsA": "is a {}",
    "UsedFor": "is used to {}",
    "CapableOf": "can {}",
    "AtLocation": "is found at {}",
    "HasA": "has {}",
    "HasProperty": "is {}",
    "MadeOf": "is made of {}",
    "PartOf": "is part of {}",
    "ReceivesAction": "can be {}",
    "DefinedAs": "is {}",
}
CLAUSES_PER_SENTENCE = 3


@dataclass(frozen=True)
class TrainingTexts:
    """Texts to learn from.

    Attributes:
        texts: n texts.
        label: class of each.
        row: the manifest's row of the photo that a caption describes; −1 for a text that describes its class.
        weight: of each; the weights of a class add up to 1.
    """

    texts: tuple[str, ...]
    label: Int[Tensor, " n"]
    row: Int[Tensor, " n"]
    weight: Float[Tensor, " n"]

    @classmethod
    def from_training_set(cls, data: TrainingSet, phrases: str | None, *, captions: bool) -> "TrainingTexts":
        """Names, descriptions and captions of a run's seen classes.

        Args:
            data: the run's images.
            phrases: `conceptnet:FILE`, triples that describe the classes, or None.
            captions: whether to use the texts of photos, if the data set has them.
        """
        clauses = load_class_clauses(phrases, data.classes) if phrases else {}
        found: list[tuple[str, int, int, float]] = []
        captions_by_class = _captions_by_class(data) if captions else {}
        for label, name in enumerate(data.classes):
            kinds = [
                [(text, -1) for text in name_sentences(name)],
                [(text, -1) for text in clause_sentences(name, clauses.get(name, ()))],
                captions_by_class.get(label, []),
            ]
            present = [kind for kind in kinds if kind]
            found += [
                (text, label, row, 1 / (len(present) * len(kind))) for kind in present for text, row in kind
            ]
        texts, labels, rows, weights = zip(*found, strict=True)
        return cls(texts, torch.tensor(labels), torch.tensor(rows), torch.tensor(weights))

    def sample_text_indices(self, label: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
        """The index of a random text of each of these classes, drawn in proportion to its weight."""
        ends, wanted = self.weight.double().cumsum(0), label.cpu()
        first, last = (torch.searchsorted(self.label, wanted, right=right) for right in (False, True))
        starts = torch.cat([ends.new_zeros(1), ends])
        aim = torch.lerp(starts[first], starts[last], torch.rand(len(wanted), dtype=torch.float64))
        return torch.searchsorted(ends, aim, right=True).clamp(first, last - 1)


def readable_name(name: str) -> str:
    """A class name with spaces for underscores."""
    return name.replace("_", " ")


def name_sentences(name: str) -> list[str]:
    """A class name alone and in short sentences."""
    return [template.format(readable_name(name)) for template in NAME_TEMPLATES]


def clause_sentences(name: str, clauses: Sequence[str]) -> list[str]:
    """Sentences of up to three clauses: first with the name, then without it."""
    groups = [
        clauses[start : start + CLAUSES_PER_SENTENCE]
        for start in range(0, len(clauses), CLAUSES_PER_SENTENCE)
    ]
    with_name = [f"a {readable_name(name)} {', '.join(group)}" for group in groups]
    nameless = [[clause for clause in group if readable_name(name) not in clause] for group in groups]
    return with_name + [f"something that {', '.join(group)}" for group in nameless if group]


def load_class_clauses(phrases: str, classes: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Clauses about each class from a file of triples (relation, head, tail; separated by tabs).

    While a run is training, clauses that name one of its unseen classes are left out; stderr says how many.

    Raises:
        ConfigError: there is no such file, the source is of another kind, a line is no triple, or no class occurs.
    """
    kind, _, file = phrases.partition(":")
    path = Path(file).expanduser()
    if kind != "conceptnet" or not path.is_file():
        raise ConfigError(f"phrases = '{phrases}': no file of triples", "Write phrases=conceptnet:FILE.")
    wanted = set(classes)
    found: Mapping[str, dict[str, None]] = defaultdict(dict)
    for relation, head, tail in _read_triples(path):
        if relation in CLAUSE_TEMPLATES and (name := normalize_class_name(head)) in wanted:
            found[name][CLAUSE_TEMPLATES[relation].format(tail)] = None
    if not found:
        raise ConfigError(
            f"{path} has no statement about any class, such as {classes[0]}",
            "Give triples as text: relation, head, tail, such as AtLocation, cow, farm, separated by tabs.",
        )
    allowed = {
        name: tuple(c for c in clauses if not mentions_unseen_class(c)) for name, clauses in found.items()
    }
    _print_omissions("clauses", found, allowed)
    return allowed


def _print_omissions(what: str, found: Mapping[Any, Collection], allowed: Mapping[Any, Collection]) -> None:
    """Says how many texts were left out."""
    if omitted := sum(map(len, found.values())) - sum(map(len, allowed.values())):
        print(f"{what} left out because they name unseen classes: {omitted}", file=sys.stderr)


def _read_triples(path: Path) -> Iterator[list[str]]:
    with path.open(encoding="utf-8") as lines:
        try:
            for number, line in enumerate(lines, 1):
                parts = line.rstrip("\n").split("\t")
                if len(parts) < 3:
                    raise ConfigError(
                        f"{path}, line {number}: not relation, head and tail", "Correct that line."
                    )
                yield parts[:3]
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{path} is not UTF-8 text",
                "Give the triples themselves, not the file that `ssl-sbir data conceptnet` writes.",
            ) from error


def _captions_by_class(data: TrainingSet) -> dict[int, list[tuple[str, int]]]:
    """Captions of labelled photos by class, with their rows."""
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    rows = data.rows[Domain.PHOTO]
    for row in rows[data.manifest.text[rows] >= 0] if len(data.manifest.texts) else np.empty(0, np.int64):
        label, text = int(data.labels[row]), data.manifest.text_of_row(int(row))
        if label >= 0 and text and text.strip():
            found[label].append((text, int(row)))
    allowed = {
        label: [it for it in captions if not mentions_unseen_class(it[0])]
        for label, captions in found.items()
    }
    _print_omissions("captions", found, allowed)
    return {label: captions for label, captions in allowed.items() if captions}
