"""Settings of the random views; imports no torch."""

from typing import Literal

from pydantic import Field

from ssl_sbir.config import Config


class AugmentConfig(Config):
    """How far a view may differ from its image; 0 switches a change off."""

    backend: Literal["kornia", "torchvision"] = Field(
        "kornia",
        description="kornia: whole batches, on the device; torchvision: image by image, in threads, ahead of the "
        "step unless the recipe makes its pseudo-sketches within the step (selflabel, labelfree, crossmodal, coclr); "
        "ssl-sbir doctor --augment times both",
    )
    flip: float = Field(0.5, ge=0, le=1, description="probability of a left-right flip")
    rotation: float = Field(20.0, ge=0, le=180, description="largest rotation, degrees")
    shift: float = Field(0.08, ge=0, le=0.5, description="largest shift, as a fraction of the side")
    zoom: float = Field(0.25, ge=0, lt=1, description="scale between 1 - zoom and 1 + zoom")
    perspective: float = Field(0.0, ge=0, le=1, description="largest perspective distortion; sketches only")
    min_crop_area: float = Field(
        1.0, gt=0, le=1, description="smallest fraction of the area that a random crop keeps"
    )
    color_jitter: float = Field(0.0, ge=0, le=1, description="strength of colour jitter; photos only")
    grayscale: float = Field(0.0, ge=0, le=1, description="probability that a photo becomes grayscale")
    blur: float = Field(0.0, ge=0, le=1, description="probability that a photo is blurred")
    elastic: float = Field(
        0.0, ge=0, le=0.1, description="elastic deformation of a sketch's lines, as a fraction of the side"
    )
    stroke_width: float = Field(
        0.0, ge=0, le=1, description="probability that a sketch's lines become wider or thinner"
    )
    stroke_gaps: float = Field(
        0.0, ge=0, le=1, description="probability that parts of a sketch's lines are left out"
    )
    erase: float = Field(
        0.0,
        ge=0,
        le=1,
        description="probability that a patch is erased (white on a sketch, black on a photo)",
    )
