"""Steps of recipes that learn text: fitting the text map, and calibrating the weight of drawing and text."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders import DomainHeadsEncoder
from ssl_sbir.encoders.frozen_features import FrozenFeatures
from ssl_sbir.fusion.calibration import best_sketch_share, mixing_table
from ssl_sbir.fusion.ridge import fit_ridge, out_of_fold_predictions
from ssl_sbir.fusion.text_tower import TextTower
from ssl_sbir.fusion.training_texts import TrainingTexts
from ssl_sbir.group_means import group_means

CALIBRATION_QUERIES = 1000  # maximum number of drawings used for calibration
MIN_CALIBRATION_CLASSES = 5  # with fewer, the best share would be chance, and it stays a half


@dataclass(frozen=True)
class TextMap:
    """A linear map from text vectors into the photos' space.

    Attributes:
        full_map: fitted to all texts.
        left_out: each text's vector by a map that was fitted without its class.
    """

    full_map: nn.Linear
    left_out: Float[Tensor, "n d"]


@torch.no_grad()
def fit_text_map(
    encoder: DomainHeadsEncoder,
    features: FrozenFeatures,
    texts: TrainingTexts,
    words: Float[Tensor, "n words"],
    penalty: float,
) -> TextMap:
    """The ridge regression from texts to the mean unit vector of their class's photos, or of a caption to its photo.

    Args:
        encoder: has the photos' head.
        features: of the run's images.
        texts: of the seen classes.
        words: the texts' vectors.
        penalty: of the ridge regression, for a hundred classes.
    """
    photo = (features.domain == Domain.PHOTO) & (features.label >= 0)
    photos = F.normalize(encoder.apply_heads(features.vectors[photo], features.domain[photo]), dim=1).cpu()
    targets = group_means(photos, features.label[photo].cpu(), int(texts.label.max()) + 1)[texts.label]
    own = texts.row >= 0
    if own.any():
        image = features.vectors[features.row_to_index[texts.row[own]]]
        targets[own] = F.normalize(
            encoder.apply_heads(image, torch.ones_like(features.row_to_index[texts.row[own]])), dim=1
        ).cpu()
    data = (words.cpu(), targets, texts.weight)
    strength = penalty * float(texts.weight.sum()) / 100
    return TextMap(fit_ridge(*data, strength), out_of_fold_predictions(*data, texts.label, strength))


def sample_calibration_classes(classes: int, share: float, seed: int) -> Bool[Tensor, " classes"]:
    """A mask of the seen classes to calibrate with: at least two, leaving at least two to learn from."""
    count = min(max(2, round(share * classes)), classes - 2)
    order = torch.randperm(classes, generator=torch.Generator().manual_seed(seed))
    chosen = torch.zeros(classes, dtype=torch.bool)
    chosen[order[:count]] = True
    return chosen


@torch.no_grad()
def calibrate_fusion(
    tower: TextTower,
    features: FrozenFeatures,
    texts: TrainingTexts,
    left_out: Float[Tensor, "n d"],
    classes: Bool[Tensor, " classes"],
    seed: int,
) -> None:
    """Calibrates a tower's fusion on images and texts of seen classes that were held out from training.

    First the table from a share to a weight, then the best share. Drawings are encoded without their text, even if the
    fusion modulates them.
    """
    assert isinstance(tower.image_encoder, DomainHeadsEncoder)
    use = (features.label >= 0) & classes[features.label]
    vectors = F.normalize(tower.image_encoder.apply_heads(features.vectors, features.domain), dim=1)
    queries = (use & (features.domain == Domain.SKETCH)).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(queries), generator=generator)[:CALIBRATION_QUERIES]
    queries = queries[chosen.to(queries.device)]
    photo = use & (features.domain == Domain.PHOTO)
    label = features.label[queries]
    text = F.normalize(left_out[texts.sample_text_indices(label).to(left_out.device)], dim=1)
    sketch, gallery, fusion = vectors[queries], vectors[photo], tower.fusion
    table = mixing_table(
        lambda s, t, w: fusion.fuse_at_weight(s, t, w)[0], sketch, text, label.cpu(), gallery, seed
    )
    fusion.mixing.copy_(table)
    if int(classes.sum()) >= MIN_CALIBRATION_CLASSES:
        share = best_sketch_share(lambda s: fusion(sketch, text, s)[0], label, gallery, features.label[photo])
        fusion.share.fill_(share)
