"""Prototype 4, a counter-example: prototype 3 with negatives of another class that carry the right text.

The fourth of the five prototypes this project grew from: a gallery in which every photo carries the same text is closer
to one without labels, and only the images distinguish its photos.

Terms
    triplet, image    as in prototype3.
    homogeneous       a triplet whose negative photo carries the text of the *positive* class.

Departures: those of prototype2.

Run    ssl-sbir finetune prototype4 --data sketchy:Sketchy/ --split sketchy-sake-25 --out runs/prototype4
Cost   as prototype2.
"""

from pydantic import Field, NonNegativeFloat
from torch import Tensor

from ssl_sbir.fusion import LabelTextTower
from ssl_sbir.objectives.triplet import triplet_loss
from ssl_sbir.recipes.finetuning.prototype2 import LabelledFeatures
from ssl_sbir.recipes.finetuning.prototype3 import Prototype3, Prototype3Config
from ssl_sbir.training.recipe import register_recipe


class Prototype4Config(Prototype3Config):
    """Settings of prototype 4: prototype 3's, and one weight."""

    homogeneous: NonNegativeFloat = Field(
        1.0, description="weight of triplets in which all texts are the same"
    )


@register_recipe("prototype4")
class Prototype4(Prototype3):
    """Prototype 3 with a gallery of one text."""

    Config = Prototype4Config
    summary = "counter-example: prototype3, with photos of other classes that carry the right text"

    def loss_terms(
        self,
        tower: LabelTextTower,
        sketch: LabelledFeatures,
        positive: LabelledFeatures,
        negative: LabelledFeatures,
    ) -> dict[str, Tensor]:
        """Prototype 3's terms and the triplet of one text."""
        other = self.embed_photo(tower, negative[0], positive[1])
        embeddings = self.embed_query(tower, *sketch), self.embed_photo(tower, *positive), other
        weight = self.config.homogeneous  # type: ignore[attr-defined]
        same = weight * triplet_loss(*embeddings, self.config.margin, "cosine")
        return {**super().loss_terms(tower, sketch, positive, negative), "homogeneous": same}
