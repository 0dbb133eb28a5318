"""Settings of recipes that compare two views of an image, importable without torch."""

from pydantic import Field

from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.training.settings import RecipeConfig


class TwoViewConfig(RecipeConfig):
    """Settings of every recipe that compares two views of an image."""

    pseudo_sketch_view: bool = Field(False, description="the second view of a photo is its own pseudo-sketch")
    augment: AugmentConfig = Field(
        AugmentConfig(
            min_crop_area=0.3, color_jitter=0.8, grayscale=0.2, blur=0.3, perspective=0.2, rotation=15
        ),
        description="",
    )
