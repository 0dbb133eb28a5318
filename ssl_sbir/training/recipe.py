"""What a recipe is: one training method, with its settings and its loss, and nothing of the loop around it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ssl_sbir.augment.kornia_views import Augment, AugmentConfig
from ssl_sbir.config import Config
from ssl_sbir.data.batches import Batch
from ssl_sbir.encoders import Encoder
from ssl_sbir.registry import Registry

if TYPE_CHECKING:
    from ssl_sbir.data.training_set import TrainingSet

TrainingStage = Literal["pretraining", "finetuning"]

EXACT_DISTRIBUTED = (
    "loss and gradients of one process with the same batch, but for batch norms, which only GPUs share"
)
SEPARATE_SHARES = (
    "each process computes its terms over its own share of the batch: not what one process would learn"
)


class EncoderConfig(Config):
    """Which encoder a run starts from."""

    name: str = Field("efficientnet_lite0", description="encoder to start from (ssl-sbir encoders)")
    size: int = Field(96, ge=32, le=1024, description="side of the square input, in pixels")
    fit: Literal["squash", "crop", "pad", "ink"] | None = Field(
        "ink",
        description="how images reach that size: squash, crop, pad, or ink, which brings what was drawn on white "
        "paper to one size and squashes other images; null: as the encoder does",
    )
    pretrained: bool = Field(True, description="start from the encoder's published weights")
    towers: Literal["shared", "separate"] = Field(
        "shared", description="one encoder for both domains, or one for each, started alike"
    )


class BatchConfig(Config):
    """What a batch holds; a domain that the data lacks gives its places to the other."""

    sketches: NonNegativeInt = Field(32, description="sketches in a batch")
    photos: NonNegativeInt = Field(32, description="photos in a batch")
    pairs: bool = Field(
        False,
        description="with each photo comes one of its own sketches, where pairs.csv says whose they are",
    )


class OptimConfig(Config):
    """How weights are stepped."""

    name: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="optimiser; sgd has Nesterov momentum .9"
    )
    lr: PositiveFloat = Field(3e-4, description="largest learning rate")
    lr_batch: NonNegativeInt = Field(
        0,
        description="lr is meant for a batch of so many images and scaled to the one there is; 0 = as it is",
    )
    weight_decay: NonNegativeFloat = Field(0.01, description="weight decay; none on biases and norms")
    schedule: Literal["cosine", "exponential", "constant"] = Field(
        "cosine", description="course of the learning rate after the warm-up; exponential ends at lr/1000"
    )
    warmup: float = Field(0.1, ge=0, lt=1, description="share of all steps in which the rate rises linearly")
    epochs: PositiveFloat = Field(10.0, description="passes over the larger domain")
    max_steps: PositiveInt | None = Field(None, description="stop after so many steps, if that is sooner")
    clip: NonNegativeFloat = Field(5.0, description="largest gradient norm; 0 = no clipping")
    accumulate: PositiveInt = Field(1, description="batches whose gradients make one step")
    freeze: NonNegativeInt | tuple[str, ...] = Field(
        0, description="how many of the encoder's first stages stay as they are, or the names of some"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="learning rate of an encoder's stage relative to the one after it"
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of an average of the weights that is exported; 0 = off"
    )


class MonitorConfig(Config):
    """How a run is watched: alignment, uniformity, effective rank and spread of its features, without labels."""

    steps: NonNegativeInt = Field(
        100, description="steps between two looks, the last of them after the run's last step; 0 = never"
    )
    images: int = Field(128, ge=2, description="images of each domain that a look takes")
    min_rank: NonNegativeFloat = Field(
        2.0, description="an effective rank (RankMe) below this is a collapse, and said at once"
    )
    min_spread: NonNegativeFloat = Field(
        0.02, description="a spread (0 = one point, 1 = the whole sphere) below this is a collapse"
    )
    seen_retrieval: bool = Field(
        False, description="also mAP of seen classes' sketches among their photos; needs labels and a split"
    )


class RecipeConfig(Config):
    """Settings that every recipe has; a recipe's own Config adds its terms and overrides the defaults."""

    seed: NonNegativeInt = Field(0, description="decides every random choice")
    encoder: EncoderConfig = Field(EncoderConfig(), description="")
    batch: BatchConfig = Field(BatchConfig(), description="")
    augment: AugmentConfig = Field(AugmentConfig(), description="")
    optim: OptimConfig = Field(OptimConfig(), description="")
    monitor: MonitorConfig = Field(MonitorConfig(), description="")
    precision: Literal["auto", "32-true", "bf16-mixed"] = Field(
        "auto", description="auto: bf16 where the processor has it, else 32 bit"
    )
    compile: bool = Field(False, description="torch.compile the encoder")
    checkpoint_steps: PositiveInt = Field(100, description="steps between checkpoints; a crash loses no more")


RecipeConfigT = TypeVar("RecipeConfigT", bound=RecipeConfig)


class Recipe(Generic[RecipeConfigT]):
    """One method. A recipe builds a module and names its loss terms; the engine does everything else.

    Subclasses set `Config`, `stage`, `summary` and `paper`, and define `build_index` and `loss`. The module that
    `build_index` returns has an attribute `encoder`, which the run exports. State that must survive a crash lives
    in the module's buffers.
    """

    Config: ClassVar[type[RecipeConfig]] = RecipeConfig
    stage: ClassVar[TrainingStage]
    summary: ClassVar[str]
    paper: ClassVar[str] = "–"
    name: ClassVar[str] = ""
    distributed: ClassVar[str] = SEPARATE_SHARES
    """What several processes compute, in words; anything but `EXACT` is told to whoever starts several."""
    progress: float = 0.0
    """Share of the run that is done, 0 to 1; the engine sets it before every step."""

    def __init__(self, config: RecipeConfigT) -> None:
        self.config = config
        self.augment = Augment(config.augment)

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> nn.Module:
        """The module to train, with the encoder to export as its attribute `encoder`.

        Args:
            encoder: the starting point, already with its weights.
            classes: names of the seen classes in label order; empty in pretraining.
        """
        raise NotImplementedError

    def prepare(self, model: nn.Module, data: "TrainingSet") -> None:
        """Computes once, before the first step, what stays constant (a teacher's answers, say)."""

    def before_epoch(self, model: Any, data: "TrainingSet", epoch: int) -> None:
        """Computes anew, before the first step of each epoch, what follows the model (clusters, say).

        What it finds lives in buffers of the module, which `prepare` can register: a run that is resumed in
        mid-epoch doesn't come here again until the next one. The model's mode is set again afterwards.

        Args:
            model: what `build_index` returned.
            data: the images of the run.
            epoch: 0 for the first.
        """

    def loss(self, model: Any, batch: Batch) -> Mapping[str, Tensor]:
        """Named scalar terms, already weighted; the engine minimises their sum and logs each.

        Args:
            model: what `build_index` returned.
            batch: images as floats in 0..1, not yet augmented.
        """
        raise NotImplementedError

    def after_step(self, model: Any, progress: float) -> None:
        """Updates that follow a step, such as a momentum encoder's; `show_progress` runs from 0 to 1."""


RECIPES: Registry[type[Recipe]] = Registry("recipe", "ssl-sbir recipes list", "ssl_sbir.recipes")


def register_recipe(name: str) -> Any:
    """A decorator that enters a recipe under `name`."""

    def add_recipe(kind: type[Recipe]) -> type[Recipe]:
        kind.name = name
        return RECIPES.register(name)(kind)

    return add_recipe
