"""Settings of recipes that keep a frozen teacher's knowledge, importable without torch."""

from pydantic import Field, NonNegativeFloat, PositiveInt

from ssl_sbir.config import Config


class DistillationConfig(Config):
    """Which teacher, and how much its knowledge counts; a recipe's settings inherit it beside `RecipeConfig`."""

    teacher: str = Field("efficientnet_lite0", description="frozen classifier whose knowledge is kept")
    teacher_size: int = Field(
        224, ge=32, le=1024, description="side of the photos that the teacher classifies, in pixels"
    )
    embedding_dim: PositiveInt = Field(512, description="width of the embedding")
    distillation: NonNegativeFloat = Field(
        1.0, description="weight of the teacher's classes of photos; 0 leaves the term out"
    )
