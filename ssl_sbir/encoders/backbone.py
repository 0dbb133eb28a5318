"""Encoders around one network of somebody else's, and the ImageNet head that came with it."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ssl_sbir.encoders.depthwise import replace_depthwise_convs
from ssl_sbir.encoders.encoder import Encoder, Preprocess


class BackboneEncoder(Encoder):
    """An encoder whose weights are those of `backbone`.

    Args:
        spec: rebuilds the architecture.
        preprocess: what the weights were made with.
        width: channels of the backbone's last map.
        backbone: image in, map [b, width, rows, columns] out.
        head: the linear ImageNet classifier of the features, if there is one.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        preprocess: Preprocess,
        width: int,
        backbone: Any,
        head: nn.Linear | None = None,
    ) -> None:
        super().__init__(spec, preprocess, width)
        replace_depthwise_convs(backbone)
        self.backbone: Any = backbone
        # A tuple, not a module: the head is no part of the encoder, so neither trained nor exported with it.
        self._head = None if head is None else (_copy_linear(head),)

    def feature_map(
        self, image: Float[Tensor, "b 3 h w"], domain: Int[Tensor, " b"]
    ) -> Float[Tensor, "b width rows columns"]:
        """The backbone's last map, [b, width, rows, columns]; the domain makes no difference."""
        del domain
        return self.backbone(self.normalize_image(image))

    def classifier(self) -> nn.Linear | None:
        """A copy of the linear ImageNet head, on this encoder's device; None if its weights brought none."""
        return None if self._head is None else _copy_linear(self._head[0]).to(self.mean.device)


def _copy_linear(head: nn.Linear) -> nn.Linear:
    copy = nn.Linear(head.in_features, head.out_features, bias=head.bias is not None)
    copy.load_state_dict({name: value.detach().float() for name, value in head.state_dict().items()})
    return copy


def accepts_own_size(encoder: Encoder) -> bool:
    """Whether an image of the encoder's own size goes through it.

    Raises:
        RuntimeError, ValueError, AssertionError: whatever the backbone says when it doesn't.
    """
    side = encoder.preprocess.size
    image = torch.full((1, 3, side, side), 0.5)
    training = encoder.training
    with torch.inference_mode():
        feature = encoder.eval()(image, torch.zeros(1, dtype=torch.long))
    encoder.train(training)
    return feature.shape == (1, encoder.width) and bool(feature.isfinite().all())
