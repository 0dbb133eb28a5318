"""What a recipe is: one training method with its settings and its loss, independent of the training loop."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from torch import Tensor, nn
from typing_extensions import TypeVar

from ssl_sbir.augment.kornia_views import Augment
from ssl_sbir.data.batches import Batch
from ssl_sbir.encoders import Encoder
from ssl_sbir.fusion import TextTower, VocabularySide
from ssl_sbir.training.settings import BatchConfig as BatchConfig
from ssl_sbir.training.settings import EncoderConfig as EncoderConfig
from ssl_sbir.training.settings import MonitorConfig as MonitorConfig
from ssl_sbir.training.settings import OptimConfig as OptimConfig
from ssl_sbir.training.settings import RecipeConfig as RecipeConfig
from ssl_sbir.training.settings import TrainingStage as TrainingStage

if TYPE_CHECKING:
    from ssl_sbir.data.training_set import TrainingSet

EXACT_DISTRIBUTED = (
    "loss and gradients of one process with the same batch, but for batch norms, which only GPUs share"
)
SEPARATE_SHARES = (
    "each process computes its terms over its own part of the batch: not what one process would learn"
)


RecipeConfigT = TypeVar("RecipeConfigT", bound=RecipeConfig)
ModelT = TypeVar("ModelT", bound=nn.Module, default=Any)


class Recipe(Generic[RecipeConfigT, ModelT]):
    """One training method. A recipe builds a module and computes its loss terms; the training loop does the rest.

    Subclasses set `Config`, `stage`, `summary` and `paper`, and define `build` and `loss`. The module that
    `build` returns has an attribute `encoder`, which the run exports. State that must survive a crash is kept
    in the module's buffers.
    """

    Config: ClassVar[type[RecipeConfig]] = RecipeConfig
    stage: ClassVar[TrainingStage]
    summary: ClassVar[str]
    paper: ClassVar[str] = "–"
    name: ClassVar[str] = ""
    distributed: ClassVar[str] = SEPARATE_SHARES
    """What several processes compute, in words; anything but `EXACT_DISTRIBUTED` is printed as a warning."""
    progress: float = 0.0
    """Fraction of the run that is done, 0 to 1; the loop sets it before every step."""

    def __init__(self, config: RecipeConfigT) -> None:
        self.config = config
        self.augment = Augment(config.augment)

    def build(self, encoder: Encoder, classes: tuple[str, ...]) -> ModelT:
        """The module to train, with the encoder to export as its attribute `encoder`.

        Args:
            encoder: the starting point, already with its weights.
            classes: names of the seen classes in label order; empty in pretraining.
        """
        raise NotImplementedError

    def prepare(self, model: ModelT, data: "TrainingSet") -> None:
        """Computes once, before the first step, what stays constant (a teacher's logits, for example)."""

    def before_epoch(self, model: ModelT, data: "TrainingSet", epoch: int) -> None:
        """Recomputes, before the first step of each epoch, what depends on the model (clusters, for example).

        The results are kept in buffers of the module, which `prepare` can register: a run that is resumed in
        mid-epoch calls this again at the next epoch only. The loop sets the model's mode again afterwards.

        Args:
            model: what `build` returned.
            data: the images of the run.
            epoch: 0 for the first.
        """

    def loss(self, model: ModelT, batch: Batch) -> Mapping[str, Tensor]:
        """Named scalar terms, already weighted; the loop minimises their sum and logs each.

        Args:
            model: what `build` returned.
            batch: images as floats in 0..1, not yet augmented.
        """
        raise NotImplementedError

    def text_side(self, model: ModelT) -> TextTower | VocabularySide | None:
        """The text side that the run exports with its encoder; None for a run that takes no text."""
        del model
        return None

    def after_step(self, model: ModelT, progress: float) -> None:
        """Updates that follow a step, such as a momentum encoder's; `progress` runs from 0 to 1."""


RecipeT = TypeVar("RecipeT", bound=Recipe[Any, Any])


def register_recipe(name: str) -> Callable[[type[RecipeT]], type[RecipeT]]:
    """A decorator that names a recipe's class; `ssl_sbir.training.recipe_catalog` finds it by that name."""

    def set_name(kind: type[RecipeT]) -> type[RecipeT]:
        kind.name = name
        return kind

    return set_name
