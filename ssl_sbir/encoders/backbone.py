"""Encoders around a network of another library, with its ImageNet head."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.encoders.classifying import ClassifyingEncoder, VocabularyReader
from ssl_sbir.encoders.depthwise import replace_depthwise_convs
from ssl_sbir.encoders.encoder import Encoder, Preprocess
from ssl_sbir.encoders.hub_files import image_size_error
from ssl_sbir.errors import EncoderError


class BackboneEncoder(ClassifyingEncoder):
    """An encoder whose weights are those of `backbone`.

    Args:
        spec: rebuilds the architecture.
        preprocess: that of the weights' training.
        width: channels of the backbone's last map.
        backbone: image in, map [b, width, rows, columns] out.
        head: the linear ImageNet classifier of the features, if there is one.
        read_vocabulary: gives the words of that classifier's classes, if they are known.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        preprocess: Preprocess,
        width: int,
        backbone: Any,
        head: nn.Linear | None = None,
        read_vocabulary: VocabularyReader | None = None,
    ) -> None:
        super().__init__(spec, preprocess, width)
        replace_depthwise_convs(backbone)
        self.backbone: Any = backbone
        if head is not None:
            self.keep_classifier(head, read_vocabulary)

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """The backbone's last map, [b, width, rows, columns]; the domain is ignored."""
        del domain
        return self.backbone(self.normalize_image(image))


def check_own_size(encoder: Encoder, encoder_name: str, native_size: int) -> None:
    """Checks that an image of an encoder's own size gives a finite feature of its width.

    Args:
        encoder: what to check.
        encoder_name: the name that errors mention.
        native_size: an image side that surely works, in pixels.

    Raises:
        EncoderError: it doesn't.
    """
    try:
        feature = _probe_feature(encoder)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise image_size_error(encoder_name, encoder.preprocess.size, native_size, error) from error
    if feature.shape != (1, encoder.width):
        raise EncoderError(
            f"encoder '{encoder_name}' gives features of shape {list(feature.shape[1:])} instead of [{encoder.width}]",
            "This kind of model is not supported: choose another encoder.",
        )
    if not feature.isfinite().all():
        raise EncoderError(
            f"encoder '{encoder_name}' gives features that are not finite",
            "Its weights are damaged: fetch them again, or choose another encoder.",
        )


def _probe_feature(encoder: Encoder) -> Tensor:
    """The feature of a gray image of the encoder's own size, [1, width]."""
    side = encoder.preprocess.size
    image = torch.full((1, 3, side, side), 0.5)
    training = encoder.training
    with torch.inference_mode():
        feature = encoder.eval()(image, torch.zeros(1, dtype=torch.long))
    encoder.train(training)
    return feature
