"""Labelfree: label-free terms combined by weights; what `ssl-sbir pretrain` does by itself.

It is self-labelling (`ssl-sbir recipes show selflabel` tells its terms) to which contrast among real sketches can be
added; by default its weight is 0. All weights are settings of this one recipe, 0 leaving a term out:

    photo_classes, sketch_classes, kinship     the classes that nobody named
    contrast                                   a photo against its own pseudo-sketch
    preserve                                   what the frozen teacher knows of photos
    sketch_contrast                            a second view of a real sketch finds the code of its first among
                                               those of the batch's sketches (InfoNCE; no gradient through the first)

Run    ssl-sbir pretrain --data folder:archive/ --out runs/archive
Cost   that of selflabel; with sketch_contrast each sketch passes once more.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, NonNegativeFloat
from torch import Tensor

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.objectives.contrastive import symmetric_info_nce
from ssl_sbir.recipes.pretraining.selflabel import Selflabel, SelflabelConfig
from ssl_sbir.training.recipe import register_recipe


class LabelfreeConfig(SelflabelConfig):
    """Settings of labelfree."""

    sketch_contrast: NonNegativeFloat = Field(
        0.0, description="weight of one view of a sketch against another"
    )


@register_recipe("labelfree")
class Labelfree(Selflabel):
    """Self-labelling, with contrast among real sketches beside it if wanted."""

    Config = LabelfreeConfig
    config: LabelfreeConfig
    summary = "the default: self-labelling, preservation, contrast"

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        terms, sketch = dict(super().loss(model, batch)), batch.domain == Domain.SKETCH
        if self.config.sketch_contrast and sketch.sum() > 1:
            first = model.last_embeddings[self.image_index[batch.row[sketch].cpu()].to(batch.row.device)]
            domain = batch.domain[sketch]
            again = model.encoder.encoder(self.augment(batch.image[sketch], domain), domain)
            agree = symmetric_info_nce(again, first, self.config.temperature)
            terms["sketch_contrast"] = self.config.sketch_contrast * agree
        return terms
