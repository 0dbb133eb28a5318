"""The linear classifier of a Hugging Face image classifier, where it acts on an encoder's own feature, and its labels."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

from ssl_sbir.encoders.class_vocabulary import ClassVocabulary, imagenet_vocabulary
from ssl_sbir.encoders.classifying import ClassifyingEncoder, VocabularyReader
from ssl_sbir.encoders.transformers_models import load_complete_model

LOGIT_TOLERANCE = 1e-4
DEFAULT_LABEL = re.compile(r"LABEL_\d+")
_NO_LETTER = re.compile(r"[\W_]+")


def keep_image_classifier(
    encoder: ClassifyingEncoder, source: str, config: Any, forward_options: dict[str, Any]
) -> None:
    """Gives an encoder the linear classifier of its repository or folder, if there is one of the encoder's feature.

    Args:
        encoder: the image model without its classifier.
        source: the repository or folder of its weights.
        config: that source's configuration.
        forward_options: what the image model takes beside pixels.
    """
    model_class = _image_classifier_class(config)
    if model_class is None:
        return
    try:
        model = load_complete_model(model_class, source, config=config).eval()
    except (OSError, ValueError, RuntimeError):  # the encoder is complete without it
        return
    head = _find_linear_head(model)
    if head is not None and _gives_own_logits(encoder, head, partial(model, **forward_options)):
        encoder.keep_classifier(head, _vocabulary_reader(encoder.spec["model"], config))


def _image_classifier_class(config: Any) -> Any:
    """The class of the image classifier that a configuration describes, or None."""
    from transformers import MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING

    stated = getattr(config, "architectures", None) or ()
    if type(config) not in MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING:
        return None
    known: Any = MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING[type(config)]
    classes: tuple[Any, ...] = known if isinstance(known, tuple) else (known,)
    return next((one for one in classes if one.__name__ in stated), None)


def _find_linear_head(model: Any) -> nn.Linear | None:
    """The only linear layer outside the base model, or None."""
    inside = set(model.base_model.modules())
    linears = [part for part in model.modules() if isinstance(part, nn.Linear) and part not in inside]
    return linears[0] if len(linears) == 1 else None


@torch.inference_mode()
def _gives_own_logits(
    encoder: ClassifyingEncoder, head: nn.Linear, image_classifier: Callable[..., Any]
) -> bool:
    """Whether a head on the encoder's feature gives an image classifier's own logits, tried on a random image."""
    if head.in_features != encoder.width:
        return False
    side = encoder.preprocess.size
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    own = image_classifier(pixel_values=encoder.normalize_image(image)).logits
    feature = encoder.eval()(image, torch.ones(1, dtype=torch.long))
    return torch.allclose(head(feature), own, rtol=LOGIT_TOLERANCE, atol=LOGIT_TOLERANCE)


def _vocabulary_reader(name: str, config: Any) -> VocabularyReader | None:
    """What reads the words of a configuration's labels; None if it states none."""
    stated = dict(getattr(config, "id2label", None) or {})
    labels = tuple(str(stated.get(index, "")) for index in range(len(stated)))
    if all(map(DEFAULT_LABEL.fullmatch, labels)):
        return None
    try:
        own = ClassVocabulary(name, labels, ("",) * len(labels))
    except ValueError:
        return None
    return partial(_add_imagenet_definitions, own)


def _add_imagenet_definitions(own: ClassVocabulary) -> ClassVocabulary:
    """ImageNet's vocabulary, with definitions, instead of labels that are ImageNet's in its order."""
    imagenet = imagenet_vocabulary()
    if len(own) != len(imagenet):
        return own
    pairs = zip(own.short_labels, imagenet.short_labels, strict=True)
    return imagenet if all(_letters_of(left) == _letters_of(right) for left, right in pairs) else own


def _letters_of(text: str) -> str:
    """A name without what copies of a list differ in: capitals, spaces, hyphens and apostrophes."""
    return _NO_LETTER.sub("", text).casefold()
