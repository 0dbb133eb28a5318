"""Ridge regression in closed form, and its out-of-fold predictions."""

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

    The intercept isn't penalised: inputs and targets are centred about their weighted means.

    Args:
        inputs: a row each.
        targets: a row each.
        weights: of the rows.
        penalty: of the order of the sum of weights times the inputs' variance; larger for few rows.
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
    """The prediction for each row by a map that was fitted without that row's group.

    Seen classes are then predicted as unseen classes will be; fusion trained on the map's own classes would rely on text
    too much.
    """
    predictions = torch.empty(len(inputs), targets.shape[1])
    for outside in _fold_masks(group, folds):
        inside = ~outside
        fitted = fit_ridge(inputs[inside], targets[inside], weights[inside], penalty)
        predictions[outside] = fitted(inputs[outside].to(fitted.weight))
    return predictions


def _fold_masks(group: Int[Tensor, " n"], folds: int) -> Iterator[Tensor]:
    """The mask of each fold's rows; a group lies within one fold."""
    kinds, kind_index = group.unique(return_inverse=True)
    folds = min(folds, len(kinds))
    for fold in range(folds):
        yield kind_index % folds == fold
