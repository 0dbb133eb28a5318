"""DINO: a network tells, from any view of an image, what its slow teacher says of the whole.

M. Caron, H. Touvron, I. Misra, H. Jégou, J. Mairal, P. Bojanowski, A. Joulin: Emerging Properties in Self-Supervised
Vision Transformers, ICCV 2021.

Term
    teach   (lightly's DINOLoss) cross-entropy of a view's softmax over prototypes with the teacher's on another view
            of the same image. The teacher's is centred by a running mean, lest one prototype takes all, and sharpened
            by a low temperature, lest all are alike. The teacher sees the two global views alone, the network the
            `n_local_crops` ones, small parts of the image, too.

The teacher follows the network, its momentum rising from `momentum` to 1 along a half cosine. Its temperature rises
linearly from `warmup_teacher_temp` to `teacher_temp` over the first `teacher_temp_warmup` of the run. The prototypes stay as they are
for the first `held` of it.

Departures: photos and sketches have a centre each. 2,048 prototypes instead of 65,536, and m = .99 at first instead of
.996, for short runs on thousands of images. Local views have the full size of the input, since not every encoder takes
another; two instead of eight. Weight decay stays at .04, where the paper raises it to .4. Warm-ups are shares of the
run. The head has no batch norm, as the paper has it for ViTs.

Run    ssl-sbir pretrain dino --data folder:archive/ --out runs/archive
Cost   six forward passes and four backward: 2.3 times SimCLR; without local views .8 times.
Expect the loss to fall from about ln(prototypes), slowly at first.
"""

from collections.abc import Mapping
from typing import Any

from lightly.loss import DINOLoss
from lightly.models.modules.heads import ProjectionHead
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.data.batches import Batch
from ssl_sbir.data.manifest import Domain
from ssl_sbir.encoders import Encoder
from ssl_sbir.objectives.momentum_and_prototypes import (
    MomentumEncoder,
    ProjectionModel,
    Prototypes,
    cosine_momentum,
    mean_over_domains,
)
from ssl_sbir.training.recipe import OptimConfig, register_recipe
from ssl_sbir.training.two_views import TwoViewConfig, TwoViewRecipe


class DinoConfig(TwoViewConfig):
    """Settings of DINO."""

    prototypes: PositiveInt = Field(2048, description="how many prototypes; published: 65536")
    freeze_prototypes: float = Field(
        0.05, ge=0, le=1, description="share of the run in which they stay; published: .01"
    )
    student_temp: PositiveFloat = Field(0.1, description="temperature of the network; published: 0.1")
    teacher_temp: PositiveFloat = Field(0.07, description="temperature of the teacher; published: 0.07")
    warmup_teacher_temp: PositiveFloat = Field(0.04, description="the same at first; published: 0.04")
    teacher_temp_warmup: float = Field(
        0.1, ge=0, le=1, description="share of the run until then; published: .1"
    )
    center_momentum: float = Field(
        0.9, ge=0, le=1, description="momentum of the teacher's centre; published: 0.9"
    )
    momentum: float = Field(
        0.99, ge=0, le=1, description="how slowly the teacher follows at first; published: 0.996"
    )
    hidden_dim: PositiveInt = Field(1024, description="width of the head's hidden layers; published: 2048")
    bottleneck_dim: PositiveInt = Field(256, description="width of the prototypes; published: 256")
    n_local_crops: NonNegativeInt = Field(
        2, description="further views of small parts of an image; published: 8"
    )
    optim: OptimConfig = Field(OptimConfig(lr=5e-4, lr_batch=256, weight_decay=0.04, clip=3), description="")


@register_recipe("dino")
class Dino(TwoViewRecipe[DinoConfig]):
    """A view tells what a slow teacher says of the whole."""

    Config = DinoConfig
    summary = "any view tells what a slow teacher says of the whole image"
    paper = "Caron 2021"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        assert not classes, "pretraining sees no labels"
        config = self.config
        hidden, width = config.hidden_dim, config.bottleneck_dim
        head = ProjectionHead(
            [
                (encoder.width, hidden, None, nn.GELU()),
                (hidden, hidden, None, nn.GELU()),
                (hidden, width, None, None),
            ]
        )
        model = ProjectionModel(encoder, nn.Sequential(head, Prototypes(width, config.prototypes)))
        model.twin = MomentumEncoder(model)
        model.teach = nn.ModuleList(
            DINOLoss(
                config.prototypes, student_temp=config.student_temp, center_momentum=config.center_momentum
            )
            for _ in Domain
        )
        return model

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        model.project[1].held = self.progress < self.config.freeze_prototypes
        wholes = self.sample_views(batch)
        parts = [self.sample_local_crop(batch) for _ in range(self.config.n_local_crops)]
        said = [model.twin(*view) for view in wholes]
        told = [model(*view) for view in (*wholes, *parts)]

        def teacher_loss(of: int, *out: Tensor) -> Tensor:
            return model.teach[of](list(out[:2]), list(out[2:]), self.teacher_temperature)

        return {"teach": mean_over_domains(teacher_loss, batch.domain, *said, *told)}

    @property
    def teacher_temperature(self) -> float:
        """Of the teacher at this point of the run."""
        config = self.config
        done = min(self.progress / config.teacher_temp_warmup, 1.0) if config.teacher_temp_warmup else 1.0
        return config.warmup_teacher_temp + (config.teacher_temp - config.warmup_teacher_temp) * done

    def after_step(self, model: Any, progress: float) -> None:
        model.twin.follow(model, cosine_momentum(self.config.momentum, progress))
