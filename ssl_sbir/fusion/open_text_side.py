"""The text side of an encoder as it is: its own text tower (CLIP), or the words of its classifier."""

from torch import nn

from ssl_sbir.encoders import Encoder, load_text_encoder
from ssl_sbir.errors import EncoderError
from ssl_sbir.fusion.fusion_kinds import LateFusion
from ssl_sbir.fusion.text_tower import TextTower
from ssl_sbir.fusion.vocabulary_head import centre_class_rows
from ssl_sbir.fusion.vocabulary_tower import VocabularySide

NO_TEXT_SIDE_HINT = (
    "Encoders that read text: those with an ImageNet classifier (efficientnet_lite0, timm's and Hugging Face's "
    "classifiers), CLIP and SigLIP (hf:…), and runs of labelfree, sake or multimodal (ssl-sbir encoders)."
)


def open_text_side(encoder: Encoder, name: str, text_encoder: str | None = None) -> TextTower:
    """The text side of an encoder that no run has trained one for.

    Args:
        encoder: on its device.
        name: the encoder's, for the message.
        text_encoder: reads the texts in place of MiniLM; a text tower of the encoder's own reads them itself.

    Raises:
        EncoderError: the encoder has neither a text tower nor a classifier whose classes are known in words, or the
            text encoder is unavailable.
    """
    device = str(encoder.mean.device)
    own = encoder.load_own_text_encoder(device) if text_encoder is None else None
    if own is not None:
        tower = TextTower(own, encoder, nn.Identity(), LateFusion(encoder.width))
        return tower.to(encoder.mean.device).eval()
    side = classifier_text_side(encoder)
    if side is None:
        raise EncoderError(f"{name} reads images, not text", NO_TEXT_SIDE_HINT)
    return side.open_tower(load_text_encoder(text_encoder or side.text_encoder, device=device), encoder)


def classifier_text_side(encoder: Encoder) -> VocabularySide | None:
    """The classes of an encoder's own classifier, with their directions; None if it has none or they have no names."""
    classifier, vocabulary = encoder.classifier(), encoder.class_vocabulary()
    if classifier is None or vocabulary is None:
        return None
    return VocabularySide(vocabulary, centre_class_rows(classifier.weight)).use_row_spread()
