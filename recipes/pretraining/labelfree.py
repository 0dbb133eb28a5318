"""Labelfree: label-free terms combined by weights; the default of `ssl-sbir pretrain`.

It is self-labelling (`ssl-sbir recipes show selflabel` describes its terms) with an optional contrast among real
sketches, whose weight is 0 by default. All weights are settings of this recipe; 0 leaves a term out:

    photo_classes, sketch_classes, class_distillation   the clusters of photos as classes
    contrast                                            a photo against its own pseudo-sketch
    distillation                                        the frozen teacher's classes of photos
    sketch_contrast                                     a second view of a real sketch is matched with its first view
                                                        among the batch's sketches (InfoNCE; the first view's
                                                        embedding gets no gradient)

Run    ssl-sbir pretrain --data folder:archive/ --out runs/archive
Cost   as selflabel; with sketch_contrast each sketch passes the encoder once more.
"""

from collections.abc import Mapping

from pydantic import Field, NonNegativeFloat
from torch import Tensor

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.objectives.contrastive import symmetric_info_nce
from ssl_sbir.recipes.pretraining.selflabel import Selflabel, SelflabelConfig, _SelflabelModel
from ssl_sbir.training.recipe import register_recipe


class LabelfreeConfig(SelflabelConfig):
    """Settings of labelfree."""

    sketch_contrast: NonNegativeFloat = Field(
        0.0, description="weight of the contrast between two views of a sketch"
    )


@register_recipe("labelfree")
class Labelfree(Selflabel):
    """Self-labelling with an optional contrast among real sketches."""

    Config = LabelfreeConfig
    config: LabelfreeConfig
    summary = "the default: self-labelling, distillation, contrast"

    def loss(self, model: _SelflabelModel, batch: Batch) -> Mapping[str, Tensor]:
        terms, sketch = dict(super().loss(model, batch)), batch.domain == Domain.SKETCH
        if self.config.sketch_contrast and sketch.sum() > 1:
            first = model.last_embeddings[self.image_index[batch.row[sketch].cpu()].to(batch.row.device)]
            domain = batch.domain[sketch]
            second = model.uncentered_encoder(self.augment(batch.image[sketch], domain), domain)
            contrast = symmetric_info_nce(second, first, self.config.temperature)
            terms["sketch_contrast"] = self.config.sketch_contrast * contrast
        return terms
