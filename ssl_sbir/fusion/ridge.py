"""A linear map in closed form: from text vectors to where photos of that meaning lie."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def fit_ridge(
    inputs: Float[Tensor, "n a"],
    targets: Float[Tensor, "n b"],
    weights: Float[Tensor, " n"],
    penalty: float,
) -> nn.Linear:
    """The linear map that minimises Σ weight · ‖target − map(input)‖² + penalty · ‖slopes‖².

    The intercept isn't penalised: inputs and targets are compared about their weighted means.

    Args:
        inputs: a row each.
        targets: a row each.
        weights: how much each row counts.
        penalty: large where rows are few; of the order of the sum of weights times the inputs' variance.
    """
    x, y, w = inputs.double(), targets.double(), weights.double()[:, None]
    x_mean, y_mean = (w * x).sum(0) / w.sum(), (w * y).sum(0) / w.sum()
    centred = x - x_mean
    square = centred.T @ (w * centred) + penalty * torch.eye(x.shape[1], dtype=x.dtype)
    slopes = torch.linalg.solve(square, centred.T @ (w * (y - y_mean)))
    found = nn.Linear(x.shape[1], y.shape[1]).requires_grad_(False)
    found.weight.copy_(slopes.T)
    found.bias.copy_(y_mean - x_mean @ slopes)
    return found


def out_of_fold_predictions(
    inputs: Float[Tensor, "n a"],
    targets: Float[Tensor, "n b"],
    weights: Float[Tensor, " n"],
    group: Int[Tensor, " n"],
    penalty: float,
    folds: int = 5,
) -> Float[Tensor, "n b"]:
    """What the map says of each row when nothing of that row's group took part in making it.

    So a class that is seen looks as a class that isn't: fusion learnt on the map's own classes would believe text too
    much.
    """
    found = torch.empty(len(inputs), targets.shape[1])
    for outside in _fold_masks(group, folds):
        inside = ~outside
        made = fit_ridge(inputs[inside], targets[inside], weights[inside], penalty)
        found[outside] = made(inputs[outside].to(made.weight))
    return found


def _fold_masks(group: Int[Tensor, " n"], folds: int) -> Iterator[Tensor]:
    """Which rows belong to each fold; a group is in one fold as a whole."""
    kinds, place = group.unique(return_inverse=True)
    folds = min(folds, len(kinds))
    for fold in range(folds):
        yield place % folds == fold
