"""Prototype 1: Doodle2Search whose photos are encoded twice, as they are and as their edges.

The first of the five prototypes this project grew from: two VGG16, triplets and word vectors as in Doodle2Search (Dey
2019), the negative's meaning through a reversed gradient, no domain discriminator; photos also pass an edge detector.
It reached mAP@all .251 on Sketchy's unseen classes, .497 on seen ones, and showed how word vectors mislead: their
neighbours of a bat are knife, sword and hammer.

Terms
    triplet, semantic   as in doodle2search (`ssl-sbir recipes show doodle2search`).
    domain              absent (`domain=0`).

Departures: a photo's embedding is the mean over it and its Sobel edges, through the same tower; the prototype's
module isn't published. Any encoder replaces VGG16 (`--set encoder.name=vgg16_bn`).

Run    ssl-sbir finetune prototype1 --data sketchy:Sketchy/ --split sketchy-sake-25 --out runs/prototype1
Cost   five images per sketch.
"""

from pydantic import Field, NonNegativeFloat, PositiveFloat

from ssl_sbir.encoders import EdgeAugmentedEncoder, Encoder, TwoTowerEncoder
from ssl_sbir.recipes.finetuning.doodle2search import Doodle2Search, Doodle2SearchConfig
from ssl_sbir.training.recipe import register_recipe


class Prototype1Config(Doodle2SearchConfig):
    """Settings of prototype 1: Doodle2Search's, with these defaults."""

    attention: bool = Field(False, description="spatial attention on each feature map")
    domain: NonNegativeFloat = Field(0.0, description="weight of a domain term; the prototype had none")
    negative_temperature: PositiveFloat | None = Field(
        None, description="small: negatives come from the closest classes; none: from all equally"
    )


@register_recipe("prototype1")
class Prototype1(Doodle2Search):
    """Doodle2Search whose photos are also encoded by their edges."""

    Config = Prototype1Config
    summary = "doodle2search whose photos are also encoded by their edges"
    paper = "–"

    def build_tower(self, encoder: Encoder) -> Encoder:
        """The encoder with an embedding layer; photos pass it twice."""
        if isinstance(encoder, TwoTowerEncoder):
            return TwoTowerEncoder(
                super().build_tower(encoder.sketch), EdgeAugmentedEncoder(super().build_tower(encoder.photo))
            )
        return EdgeAugmentedEncoder(super().build_tower(encoder))
