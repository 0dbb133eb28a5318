"""Settings that every recipe has; imports no torch, so that they can be listed and checked at once."""

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.config import Config

TrainingStage = Literal["pretraining", "finetuning"]


class EncoderConfig(Config):
    """Which encoder a run starts from."""

    name: str = Field("efficientnet_lite0", description="encoder to start from (ssl-sbir encoders)")
    size: int = Field(96, ge=32, le=1024, description="side of the square input, in pixels")
    fit: Literal["squash", "crop", "pad", "ink"] | None = Field(
        "ink",
        description="how images are resized: squash, crop, pad, or ink, which scales drawings on white paper to "
        "one size and squashes other images; null: the encoder's own way",
    )
    pretrained: bool = Field(True, description="start from the encoder's published weights")
    towers: Literal["shared", "separate"] = Field(
        "shared", description="one encoder for both domains, or one for each with the same initial weights"
    )


class BatchConfig(Config):
    """Images per batch; if the data lacks one domain, the other fills the whole batch."""

    sketches: NonNegativeInt = Field(32, description="sketches in a batch")
    photos: NonNegativeInt = Field(32, description="photos in a batch")
    pairs: bool = Field(
        False, description="each photo is accompanied by one of its own sketches, where pairs.csv lists them"
    )


class OptimConfig(Config):
    """Optimiser, learning rate and length of training."""

    name: Literal["adamw", "adam", "sgd"] = Field(
        "adamw", description="optimiser; sgd has Nesterov momentum 0.9"
    )
    lr: PositiveFloat = Field(3e-4, description="largest learning rate")
    lr_batch: NonNegativeInt = Field(
        0,
        description="batch size that lr is meant for: lr is scaled in proportion to the actual one; 0 = not scaled",
    )
    weight_decay: NonNegativeFloat = Field(0.01, description="weight decay; none on biases and norms")
    schedule: Literal["cosine", "exponential", "constant"] = Field(
        "cosine", description="learning rate after the warm-up; exponential ends at lr/1000"
    )
    warmup: float = Field(
        0.1, ge=0, lt=1, description="fraction of all steps in which the rate rises linearly"
    )
    epochs: PositiveFloat = Field(10.0, description="passes over the larger domain")
    max_steps: PositiveInt | None = Field(None, description="stop after this many steps, if that is sooner")
    clip: NonNegativeFloat = Field(5.0, description="largest gradient norm; 0 = no clipping")
    accumulate: PositiveInt = Field(1, description="batches whose gradients are averaged in one step")
    freeze: NonNegativeInt | tuple[str, ...] = Field(
        0, description="how many of the encoder's first stages are frozen, or the names of the frozen stages"
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="learning rate of an encoder's stage relative to the one after it"
    )
    ema: float = Field(
        0.0, ge=0, lt=1, description="decay of the exponential moving average that is exported; 0 = off"
    )


class MonitorConfig(Config):
    """Checks during training without labels: alignment, uniformity, effective rank and spread of the features."""

    steps: NonNegativeInt = Field(
        100, description="steps between two checks, with one more after the last step; 0 = never"
    )
    images: int = Field(128, ge=2, description="images of each domain in a check")
    min_rank: NonNegativeFloat = Field(
        2.0, description="an effective rank (RankMe) below this is reported as a collapse"
    )
    min_spread: NonNegativeFloat = Field(
        0.02,
        description="a spread (0 = one point, 1 = the whole sphere) below this is reported as a collapse",
    )
    seen_retrieval: bool = Field(
        False, description="also mAP of seen classes' sketches among their photos; needs labels and a split"
    )


class RecipeConfig(Config):
    """Settings that every recipe has; a recipe's own Config adds its terms and overrides the defaults."""

    seed: NonNegativeInt = Field(0, description="seed of every random choice")
    encoder: EncoderConfig = Field(EncoderConfig(), description="")
    batch: BatchConfig = Field(BatchConfig(), description="")
    augment: AugmentConfig = Field(AugmentConfig(), description="")
    optim: OptimConfig = Field(OptimConfig(), description="")
    monitor: MonitorConfig = Field(MonitorConfig(), description="")
    precision: Literal["auto", "32-true", "bf16-mixed"] = Field(
        "auto", description="auto: bf16 where the hardware supports it, else 32 bit"
    )
    compile: bool = Field(False, description="torch.compile the encoder")
    checkpoint_steps: PositiveInt = Field(
        100, description="steps between checkpoints; a crash loses at most these"
    )
