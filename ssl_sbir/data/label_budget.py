"""How many labels a run may read: all, a share, some of every class, or the first of an order; of one domain or both."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.data.manifest import Domain, ManifestRows
from ssl_sbir.errors import ConfigError, DataError
from ssl_sbir.files import sha256_of
from ssl_sbir.registry import did_you_mean

if TYPE_CHECKING:
    from ssl_sbir.data.training_set import TrainingSet

LabelBudgetDomains = Literal["both", "sketch", "photo"]


@dataclass(frozen=True)
class LabelBudget:
    """Which labels of the seen classes a run may read; the other images stay, unlabelled.

    The choice depends only on seed and file names: it is stratified by class and domain, the same on every
    machine, and smaller budgets are subsets of larger ones (the 5 % are among the 10 %).

    Attributes:
        amount: "all", a share such as "10%", or "5-per-class" (as many sketches and as many photos of each class;
            all of a class that has fewer).
        domains: whose labels may be read.
        classes: number of seen classes, or their names separated by commas; None for all.
        seed: decides the choice.
        order: a text file of image names, the most wanted first, used instead of the seed: the first of each
            domain are labelled, as many as `amount` comes to, whatever their classes. A class without a label is
            left out.
    """

    amount: str = "all"
    domains: str = "both"
    classes: str | None = None
    seed: int = 0
    order: str | None = None

    def __post_init__(self) -> None:
        """Checks the settings.

        Raises:
            ConfigError: an amount or domain of another form, or an order together with classes.
        """
        self._budget_count(1)
        if self.domains not in get_args(LabelBudgetDomains):
            raise ConfigError(
                f"--label-domains {self.domains}", f"Give {', '.join(get_args(LabelBudgetDomains))}."
            )
        if self.order is not None and self.classes is not None:
            raise ConfigError(
                "--label-order with --label-classes", "An order ignores classes: give one of the two."
            )

    @property
    def includes_all_labels(self) -> bool:
        """Whether every label may be read."""
        return (self.amount, self.domains, self.classes, self.order) == ("all", "both", None, None)

    def apply_to(self, data: "TrainingSet") -> "TrainingSet":
        """The same images without the labels outside the budget.

        Raises:
            DataError: a class would be left without a label, or isn't a seen one.
        """
        if self.includes_all_labels:
            return data
        if self.order is not None:
            return self._apply_label_order(data, Path(self.order))
        labelled = np.zeros(len(data.manifest), dtype=bool)
        data = replace(data, classes=self._choose_classes(data.classes))
        for name, domain, rows in self._iter_strata(data):
            chosen = rows[: self._budget_count(len(rows))]
            if not len(chosen):
                raise DataError(
                    f"--labels {self.amount} leaves class '{name}' without a labelled {domain.name.lower()} "
                    f"(it has {len(rows)})",
                    f"Give a larger share: one label of {len(rows)} is {100 / max(len(rows), 1):.3g}%.",
                )
            labelled[chosen] = True
        return replace(data, labelled=labelled)

    def _apply_label_order(self, data: "TrainingSet", path: Path) -> "TrainingSet":
        """The first images of each wanted domain keep their labels; classes without a label are left out."""
        rank = _read_label_order(path)
        labelled = np.zeros(len(data.manifest), dtype=bool)
        for domain in self._budget_domains():
            rows = data.rows[domain]
            known = {
                rank[key]: int(row)
                for row, key in zip(rows, _row_keys(data, rows), strict=True)
                if key in rank
            }
            count = (
                self._budget_count(len(rows))
                if self.amount.endswith("%")
                else self._budget_count(len(rows)) * len(data.classes)
            )
            if not count or len(known) < min(count, len(rows)):
                raise DataError(
                    f"--labels {self.amount} asks for {count} of {len(rows)} {domain.name.lower()} labels; "
                    f"{path} names {len(known)} of these images",
                    "Give an amount of one or more, and an order that names every image of the run.",
                )
            labelled[[known[r] for r in sorted(known)[:count]]] = True
        remaining = np.unique(data.labels.numpy()[labelled]).tolist()
        return replace(data, labelled=labelled, classes=tuple(data.classes[code] for code in remaining))

    def _choose_classes(self, seen: tuple[str, ...]) -> tuple[str, ...]:
        if self.classes is None:
            return seen
        if self.classes.isdecimal():
            if not 0 < int(self.classes) <= len(seen):
                raise DataError(
                    f"--label-classes {self.classes} of {len(seen)} seen ones",
                    "Give fewer, and at least 1.",
                )
            chosen = sorted(seen, key=lambda name: sha256_of(str(self.seed), name))[: int(self.classes)]
            return tuple(name for name in seen if name in chosen)
        wanted = [normalize_class_name(name) for name in self.classes.split(",")]
        for name in wanted:
            if name not in seen:
                raise DataError(
                    f"--label-classes: '{name}' is not a seen class of this split.{did_you_mean(name, seen)}",
                    "Labels of unseen classes are never read: they are the answers of the test.",
                )
        return tuple(name for name in seen if name in wanted)

    def _iter_strata(self, data: "TrainingSet") -> Iterator[tuple[str, Domain, ManifestRows]]:
        """The rows of each class and wanted domain, ordered by a hash of seed and file name."""
        for domain in self._budget_domains():
            rows = data.rows[domain]
            label = data.labels.numpy()[rows]
            for code, name in enumerate(data.classes):
                yield name, domain, self._order_by_hash(data, rows[label == code])

    def _budget_domains(self) -> list[Domain]:
        return [domain for domain in Domain if self.domains in ("both", domain.name.lower())]

    def _order_by_hash(self, data: "TrainingSet", rows: ManifestRows) -> ManifestRows:
        digests = [sha256_of(str(self.seed), data.manifest.keys[int(row)]) for row in rows]
        return rows[np.argsort(digests, kind="stable")]

    def _budget_count(self, count: int) -> int:
        """How many of `count` images keep their label."""
        if self.amount == "all":
            return count
        share = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", self.amount)
        if share and 0 < float(share[1]) <= 100:
            return int(float(share[1]) * count / 100 + 1e-9)
        each = re.fullmatch(r"([1-9]\d*)-per-class", self.amount)
        if each:
            return min(int(each[1]), count)
        raise ConfigError(f"--labels {self.amount}", "Give all, a share such as 10%, or such as 5-per-class.")


def label_budget_facts(budget: LabelBudget, data: "TrainingSet") -> dict[str, Any]:
    """The labels that a run read, for its provenance: the budget, how many labels, and the hash of their images."""
    counts, keys = {}, list[str]()
    for domain in Domain:
        rows = data.rows[domain]
        rows = rows[data.labels.numpy()[rows] >= 0]
        counts[domain.name.lower()] = len(rows)
        keys += _row_keys(data, rows)
    return {
        "amount": budget.amount,
        "domains": budget.domains,
        "classes": len(data.classes),
        "seed": budget.seed,
        "order": budget.order,
        "count": counts,
        "sha256": sha256_of(*sorted(keys)),
    }


def _read_label_order(path: Path) -> dict[str, int]:
    try:
        return {key: rank for rank, key in enumerate(path.read_text("utf-8").splitlines())}
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--label-order {path}: {error}", "Name a text file, one image a line.") from error


def _row_keys(data: "TrainingSet", rows: Iterable[Any]) -> list[str]:
    return [data.manifest.keys[int(row)] for row in rows]
