"""Prototype 3, a counter-example: prototype 2 whose vectors are pulled towards those of the image alone.

The third of the five prototypes this project grew from: meant to give the drawing more weight.

Terms
    triplet    as in prototype2.
    image      ‖v − u‖², v the unit vector of image and text, u that of the image alone; of the drawing, of photo⁺ and
               of photo⁻, added up.

Departures: those of prototype2.

Run    ssl-sbir finetune prototype3 --data sketchy:Sketchy/ --split sketchy-sake-25 --out runs/prototype3
Cost   as prototype2.
"""

from pydantic import Field, NonNegativeFloat
from torch import Tensor
from torch.nn import functional as F

from ssl_sbir.fusion import LabelTextTower
from ssl_sbir.objectives.triplet import pull_loss
from ssl_sbir.recipes.finetuning.prototype2 import LabelledFeatures, Prototype2, Prototype2Config
from ssl_sbir.training.recipe import register_recipe


class Prototype3Config(Prototype2Config):
    """Settings of prototype 3: prototype 2's, and one weight."""

    image: NonNegativeFloat = Field(1.0, description="weight of the pull towards the image alone")


@register_recipe("prototype3")
class Prototype3(Prototype2):
    """Prototype 2 with a pull towards the image."""

    Config = Prototype3Config
    summary = "counter-example: prototype2, pulled towards the image alone"

    def loss_terms(
        self,
        tower: LabelTextTower,
        sketch: LabelledFeatures,
        positive: LabelledFeatures,
        negative: LabelledFeatures,
    ) -> dict[str, Tensor]:
        """Prototype 2's triplets and the pull."""
        embedded = (
            (self.embed_query(tower, *sketch), sketch),
            *((self.embed_photo(tower, *photos), photos) for photos in (positive, negative)),
        )
        pulls = [pull_loss(vectors, F.normalize(features, dim=1)) for vectors, (features, _) in embedded]
        weight = self.config.image  # type: ignore[attr-defined]
        return {
            **super().loss_terms(tower, sketch, positive, negative),
            "image": weight * sum(pulls, pulls[0] * 0),
        }
