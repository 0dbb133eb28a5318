"""DINO: from any view of an image, a network predicts its momentum teacher's output for the whole image.

M. Caron, H. Touvron, I. Misra, H. Jégou, J. Mairal, P. Bojanowski, A. Joulin: Emerging Properties in Self-Supervised
Vision Transformers, ICCV 2021.

Term
    teach   (lightly's DINOLoss) cross-entropy of a view's softmax over prototypes with the teacher's on another view
            of the same image. The teacher's output is centred by a running mean, so that no prototype dominates, and
            sharpened by a low temperature, so that it isn't uniform. The teacher sees only the two global views, the
            network also `n_local_crops` views of small parts of the image.

The teacher is a momentum encoder; its momentum rises from `momentum` to 1 along a half cosine, its temperature
linearly from `warmup_teacher_temp` to `teacher_temp` over the first `teacher_temp_warmup` of the run. The prototypes
are frozen for the first `freeze_prototypes` of it.

Departures: photos and sketches have separate centres. 2,048 prototypes instead of 65,536, and an initial momentum of
.99 instead of .996, for short runs on thousands of images. Local views have the full size of the input, since not
every encoder takes another; two instead of eight. Weight decay stays at .04; the paper raises it to .4. Warm-ups are
fractions of the run. The head has no batch norm, as in the paper for ViTs.

Run    ssl-sbir pretrain dino --data folder:archive/ --out runs/archive
Cost   six forward passes and four backward: 2.3 times SimCLR; without local views .8 times.
Expect the loss to fall from about ln(prototypes), slowly at first.
"""

from collections.abc import Mapping
from typing import cast

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
from ssl_sbir.training.recipe import register_recipe
from ssl_sbir.training.settings import OptimConfig
from ssl_sbir.training.two_views import TwoViewRecipe
from ssl_sbir.training.two_views_settings import TwoViewConfig


class DinoConfig(TwoViewConfig):
    """Settings of DINO."""

    prototypes: PositiveInt = Field(2048, description="how many prototypes; published: 65536")
    freeze_prototypes: float = Field(
        0.05, ge=0, le=1, description="fraction of the run in which they are frozen; published: .01"
    )
    student_temp: PositiveFloat = Field(
        0.1, description="temperature of the network's softmax; published: 0.1"
    )
    teacher_temp: PositiveFloat = Field(
        0.07, description="temperature of the teacher's softmax; published: 0.07"
    )
    warmup_teacher_temp: PositiveFloat = Field(
        0.04, description="the teacher's initial temperature; published: 0.04"
    )
    teacher_temp_warmup: float = Field(
        0.1, ge=0, le=1, description="fraction of the run until teacher_temp is reached; published: .1"
    )
    center_momentum: float = Field(
        0.9, ge=0, le=1, description="momentum of the teacher's centre; published: 0.9"
    )
    momentum: float = Field(0.99, ge=0, le=1, description="initial momentum of the teacher; published: 0.996")
    hidden_dim: PositiveInt = Field(1024, description="width of the head's hidden layers; published: 2048")
    bottleneck_dim: PositiveInt = Field(256, description="width of the prototypes; published: 256")
    n_local_crops: NonNegativeInt = Field(
        2, description="further views of small parts of an image; published: 8"
    )
    optim: OptimConfig = Field(OptimConfig(lr=5e-4, lr_batch=256, weight_decay=0.04, clip=3), description="")


class _DinoModel(ProjectionModel):
    def __init__(self, encoder: Encoder, config: DinoConfig) -> None:
        hidden, width = config.hidden_dim, config.bottleneck_dim
        head = ProjectionHead(
            [
                (encoder.width, hidden, None, nn.GELU()),
                (hidden, hidden, None, nn.GELU()),
                (hidden, width, None, None),
            ]
        )
        super().__init__(encoder, nn.Sequential(head, Prototypes(width, config.prototypes)))
        self.momentum_encoder = MomentumEncoder(self)
        self.dino_losses = nn.ModuleList(
            DINOLoss(
                config.prototypes, student_temp=config.student_temp, center_momentum=config.center_momentum
            )
            for _ in Domain
        )

    @property
    def prototypes(self) -> Prototypes:
        """The projection head's last layer."""
        assert isinstance(self.projection_head, nn.Sequential)
        return cast("Prototypes", self.projection_head[1])


@register_recipe("dino")
class Dino(TwoViewRecipe[DinoConfig, _DinoModel]):
    """A view predicts a momentum teacher's output for the whole image."""

    Config = DinoConfig
    summary = "any view predicts a momentum teacher's output for the whole image"
    paper = "Caron 2021"

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> _DinoModel:
        assert not classes, "pretraining sees no labels"
        return _DinoModel(encoder, self.config)

    def loss(self, model: _DinoModel, batch: Batch) -> Mapping[str, Tensor]:
        model.prototypes.frozen = self.progress < self.config.freeze_prototypes
        global_views = self.sample_views(batch)
        local_views = [self.sample_local_crop(batch) for _ in range(self.config.n_local_crops)]
        targets = [model.momentum_encoder(*view) for view in global_views]
        predictions = [model(*view) for view in (*global_views, *local_views)]

        def teacher_loss(domain: int, *outputs: Tensor) -> Tensor:
            dino_loss = model.dino_losses[domain]
            return dino_loss(list(outputs[:2]), list(outputs[2:]), self.teacher_temperature)

        return {"teach": mean_over_domains(teacher_loss, batch.domain, *targets, *predictions)}

    @property
    def teacher_temperature(self) -> float:
        """The teacher's temperature at this point of the run."""
        config = self.config
        done = min(self.progress / config.teacher_temp_warmup, 1.0) if config.teacher_temp_warmup else 1.0
        return config.warmup_teacher_temp + (config.teacher_temp - config.warmup_teacher_temp) * done

    def after_step(self, model: _DinoModel, progress: float) -> None:
        model.momentum_encoder.update(model, cosine_momentum(self.config.momentum, progress))
