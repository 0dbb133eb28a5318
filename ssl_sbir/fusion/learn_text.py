"""What a recipe needs to learn text: features that are computed once, the text map, and the calibrated weight."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import DomainHeadsEncoder, Encoder
from ssl_sbir.encoders.embed import embed_rows
from ssl_sbir.fusion.calibration import best_sketch_share, mixing_table
from ssl_sbir.fusion.ridge import fit_ridge, out_of_fold_predictions
from ssl_sbir.fusion.text_tower import TextTower
from ssl_sbir.fusion.training_texts import TrainingTexts
from ssl_sbir.group_means import group_means

CALIBRATION_QUERIES = 1000  # drawings that calibrate
MIN_CALIBRATION_CLASSES = 5  # classes whose best share is more than chance; with fewer it stays a half


@dataclass(frozen=True)
class FrozenFeatures:
    """The frozen network's features of a run's images.

    Attributes:
        vectors: a row for each image.
        domain: of each.
        label: of each; −1 where it isn't known.
        row_to_index: for each row of the manifest its place among these, or 0.
    """

    vectors: Float[Tensor, "n inner"]
    domain: Int[Tensor, " n"]
    label: Int[Tensor, " n"]
    row_to_index: Int[Tensor, " rows"]

    @classmethod
    def from_training_set(cls, encoder: Encoder, data: TrainingSet) -> "FrozenFeatures":
        """The features of all images of a run, kept in the cache of embeddings."""
        device = next(encoder.parameters()).device
        rows = np.sort(np.concatenate(list(data.rows.values())))
        inner = embed_rows(encoder, data.pack, data.manifest, rows, device=str(device))
        place = torch.zeros(len(data.manifest), dtype=torch.int64)
        place[rows] = torch.arange(len(rows))
        domain = torch.from_numpy(data.manifest.domain[rows].astype(np.int64))
        return cls(inner, domain, data.labels[rows], place)

    def to(self, device: torch.device) -> "FrozenFeatures":
        """The same on a device."""
        return replace(self, **{name: value.to(device) for name, value in vars(self).items()})


@dataclass(frozen=True)
class TextMap:
    """From text vectors into the photos' space.

    Attributes:
        full_map: learnt from all texts.
        left_out: where each text lands by a map that learnt nothing from its class.
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
    """The ridge regression from texts to the mean unit vector of their class's photos, or to their own photo.

    Args:
        encoder: has the photos' head.
        features: of the run's images.
        texts: of the seen classes.
        words: their vectors.
        penalty: for a hundred classes.
    """
    photo = (features.domain == Domain.PHOTO) & (features.label >= 0)
    code = F.normalize(encoder.apply_heads(features.vectors[photo], features.domain[photo]), dim=1).cpu()
    targets = group_means(code, features.label[photo].cpu(), int(texts.label.max()) + 1)[texts.label]
    own = texts.row >= 0
    if own.any():
        image = features.vectors[features.row_to_index[texts.row[own]]]
        targets[own] = F.normalize(
            encoder.apply_heads(image, torch.ones_like(features.row_to_index[texts.row[own]])), dim=1
        ).cpu()
    given = (words.cpu(), targets, texts.weight)
    strength = penalty * float(texts.weight.sum()) / 100
    return TextMap(fit_ridge(*given, strength), out_of_fold_predictions(*given, texts.label, strength))


def sample_calibration_classes(classes: int, share: float, seed: int) -> Bool[Tensor, " classes"]:
    """Which seen classes calibrate; two or more of them, and two or more are left to learn from."""
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
    """Sets the weights of a tower's fusion by images and texts of some seen classes that nothing was learnt from.

    First the table that turns a wanted share into a weight, then the share that serves best. Drawings are taken as they
    are without a text, also where text modulates them.
    """
    assert isinstance(tower.image_encoder, DomainHeadsEncoder)
    use = (features.label >= 0) & classes[features.label]
    code = F.normalize(tower.image_encoder.apply_heads(features.vectors, features.domain), dim=1)
    drawn = (use & (features.domain == Domain.SKETCH)).nonzero()[:, 0]
    generator = torch.Generator().manual_seed(seed)
    drawn = drawn[torch.randperm(len(drawn), generator=generator)[:CALIBRATION_QUERIES].to(drawn.device)]
    photo = use & (features.domain == Domain.PHOTO)
    label = features.label[drawn]
    text = F.normalize(left_out[texts.sample_text_indices(label).to(left_out.device)], dim=1)
    sketch, gallery, fusion = code[drawn], code[photo], tower.fusion
    table = mixing_table(
        lambda s, t, w: fusion.fuse_at_weight(s, t, w)[0], sketch, text, label.cpu(), gallery, seed
    )
    fusion.mixing.copy_(table)
    if int(classes.sum()) >= MIN_CALIBRATION_CLASSES:
        share = best_sketch_share(lambda s: fusion(sketch, text, s)[0], label, gallery, features.label[photo])
        fusion.share.fill_(share)
