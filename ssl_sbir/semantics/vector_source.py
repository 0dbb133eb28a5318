"""What all vector sources share: the cosine as similarity, and a vector for each name."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.semantics.similarity_source import Keys, Semantics, known_keys


class VectorSemantics(Semantics):
    """A source that has a unit vector for each name it knows."""

    @property
    @abstractmethod
    def width(self) -> int:
        """The length of a vector."""

    @abstractmethod
    def unit_vectors(self, keys: Sequence[Keys]) -> Float[Tensor, "names width"]:
        """The unit vector of each of the resolved names."""

    def compare_keys(self, rows: Sequence[Keys], columns: Sequence[Keys]) -> Float[Tensor, "rows columns"]:
        """Cosines, with negative values set to 0."""
        return (self.unit_vectors(rows) @ self.unit_vectors(columns).T).clamp(0, 1)

    def name_vectors(self, names: Sequence[str]) -> Float[Tensor, "names width"]:
        """A unit vector for each name; zeros for an unknown one.

        Raises:
            ConfigError: a name is that of an unseen class and a run is training.
        """
        known = known_keys(names, self.resolve_names(names))
        vectors = torch.zeros(len(names), self.width)
        if known:
            vectors[torch.tensor(list(known))] = self.unit_vectors(list(known.values()))
        return vectors
