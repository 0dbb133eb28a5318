"""SAKE: learn the seen classes of both domains, keep what ImageNet taught.

Q. Liu, L. Xie, H. Wang, A. Yuille: Semantic-Aware Knowledge Preservation for Zero-Shot Sketch-Based Image
Retrieval, ICCV 2019.

Terms
    seen_classes   cross-entropy of the sketches' and photos' seen classes.
    preserve       cross-entropy between the frozen teacher's distribution over its 1,000 ImageNet classes
                   and what the code recalls of it; photos only.
    kinship        the same for sketches: each recalls the teacher's mean distribution over the photos of its
                   class, so that drawings find their place in ImageNet's space and not only among the seen
                   classes. Ours, not the paper's; `kinship=0` leaves it out.

The code is a linear map of the pooled features, started from the singular value decomposition of the
teacher's classifier W = U S V^T: first S_d V_d^T, then U_d, so that training starts as the ImageNet network.

Departures: the teacher answers once for each photo as it is, not for each of its augmented views, which
saves a forward pass a step. AdamW with a warm-up and a cosine course stands in for Adam with the exponential
one (`--set optim.name=adam --set optim.schedule=exponential` brings those back). The paper's tilt of the
teacher towards semantically similar classes needs a source of class similarity and is absent.

Run    ssl-sbir finetune sake --data sketchy:Sketchy/ --split sketchy-sake-25 --out runs/sake
Cost   5,000 images at 96 px: two to three minutes an epoch on 2 slow cores.
"""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.loading import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.training import TrainingSet
from ssl_sbir.encoders import Encoder, Projected, load_encoder
from ssl_sbir.objectives.preservation import Answers, classifier_of, coded, factorised
from ssl_sbir.recipe import OptimConfig, Recipe, RecipeConfig, register


class SakeConfig(RecipeConfig):
    """Settings of SAKE."""

    teacher: str = Field("efficientnet_lite0", description="frozen classifier whose knowledge is kept")
    code: PositiveInt = Field(512, description="width of the embedding; published: 512 and 64")
    preserve: NonNegativeFloat = Field(1.0, description="weight of the preservation term; published: 1")
    kinship: NonNegativeFloat = Field(
        1.0, description="weight of the sketches' recall; published: absent (0)"
    )
    optim: OptimConfig = Field(OptimConfig(epochs=5, lr=5e-4), description="")


class _Sake(nn.Module):
    def __init__(self, encoder: Projected, recall: nn.Linear, classes: int) -> None:
        super().__init__()
        self.encoder, self.recall = encoder, recall
        self.classify = nn.Linear(encoder.width, classes)


@register("sake")
class Sake(Recipe[SakeConfig]):
    """Learn seen classes, keep what ImageNet taught."""

    Config = SakeConfig
    stage = "finetuning"
    summary = "learn seen classes, keep what ImageNet taught"
    paper = "Liu 2019"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        self.teacher = load_encoder(self.config.teacher, size=encoder.preprocess.size)
        code, recall = factorised(classifier_of(self.teacher, self.config.teacher), self.config.code)
        return _Sake(coded(encoder, code), recall, len(classes))

    def prepare(self, model: Any, data: TrainingSet) -> None:
        """Asks the teacher once about every photo of the run."""
        self.answers = Answers.of(self.teacher.to(model.recall.weight.device), data)
        self.class_answers = self.answers.class_means(data)

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        code = model.encoder(self.augment(batch.image, batch.domain), batch.domain)
        photo = batch.domain == Domain.PHOTO
        recalled = model.recall(code)
        taught = self.answers(batch.row[photo]).softmax(-1)
        kin = self.class_answers[batch.label[~photo].cpu()].to(code.device)
        return {
            "seen_classes": F.cross_entropy(model.classify(code), batch.label),
            "preserve": self.config.preserve * F.cross_entropy(recalled[photo], taught),
            "kinship": self.config.kinship * F.cross_entropy(recalled[~photo], kin),
        }
