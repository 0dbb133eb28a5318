"""Prototype 5: SAKE whose class similarity comes from ConceptNet instead of WordNet.

The fifth of the five prototypes this project grew from. It reported mAP@all .568 on Sketchy-25 where SAKE has .547
(Liu, ICCV 2019), in a single run: repeat it with seeds before believing it.

Terms    as in sake (`ssl-sbir recipes show sake`), with the published weights: no `class_distillation`, `similarity_weight` .3.

Departures: those of sake. With `--set tilt=calibrated` the similarity changes odds by more than a factor of 1.35.

Run    ssl-sbir finetune prototype5 --data sketchy:Sketchy/ --set semantics=conceptnet:conceptnet.tsv
Cost   as sake.
"""

from pydantic import Field, NonNegativeFloat

from ssl_sbir.encoders import Encoder
from ssl_sbir.errors import ConfigError
from ssl_sbir.recipes.finetuning.sake import Sake, SakeConfig, _SakeModel
from ssl_sbir.training.recipe import register_recipe


class Prototype5Config(SakeConfig):
    """Settings of prototype 5: SAKE's, with these defaults."""

    semantics: str | None = Field(None, description="conceptnet:FILE, the graph of class similarity")
    class_distillation: NonNegativeFloat = Field(
        0.0, description="weight of the teacher's distribution over a sketch's class; absent as published"
    )


@register_recipe("prototype5")
class Prototype5(Sake):
    """SAKE with ConceptNet."""

    Config = Prototype5Config
    summary = "sake whose class similarity comes from ConceptNet"
    paper = "–"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _SakeModel:
        if self.config.semantics is None:
            raise ConfigError(
                "prototype5 has no graph for class similarity",
                "Name ConceptNet's file: --set semantics=conceptnet:FILE",
            )
        return super().build(encoder, classes)
