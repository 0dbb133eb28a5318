"""Text encoders by name: `minilm`, `glove`, `hf:NAME-or-FOLDER`, `vectors:FILE`, or a folder."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from ssl_sbir.encoders.text_encoder import TextEncoder
from ssl_sbir.encoders.text_transformer import load_packaged_minilm, transformer_text_encoder
from ssl_sbir.encoders.text_word_average import WordVectorTextEncoder
from ssl_sbir.encoders.word_vector_files import load_packaged_glove, read_word_vectors
from ssl_sbir.errors import EncoderError
from ssl_sbir.registry import Registry, did_you_mean

TEXT_ENCODER_PREFIXES = ("hf:", "vectors:")


@runtime_checkable
class TextEncoderLoader(Protocol):
    """Makes a text encoder on a device."""

    def __call__(self, *, device: str) -> TextEncoder:
        """The encoder."""


text_encoder_registry: Registry[TextEncoderLoader] = Registry(
    "text encoder", "ssl-sbir encoders", "ssl_sbir.text_encoders"
)


def load_text_encoder(name: str = "minilm", *, device: str = "cpu") -> TextEncoder:
    """The text encoder of that name.

    Args:
        name: `minilm` (packaged sentence encoder), `glove` (packaged word vectors), `hf:NAME-or-FOLDER` (a BERT or
            sentence encoder, or the text tower of CLIP or SigLIP), `vectors:FILE` (word vectors in text or .npy), or a folder.
        device: where transformers run.

    Raises:
        SslSbirError: the name is unknown, or its files are unavailable; says what to do.
    """
    prefix, colon, rest = name.partition(":")
    if colon and prefix == "hf":
        return transformer_text_encoder(rest, name, device=device)
    if colon and prefix == "vectors":
        return WordVectorTextEncoder(name, read_word_vectors(rest))
    names = text_encoder_registry.names()
    if Path(name).is_dir() and name not in names:
        return transformer_text_encoder(name, name, device=device)
    if name not in names:
        raise EncoderError(
            f"unknown text encoder '{name}'.{did_you_mean(name, (*names, *TEXT_ENCODER_PREFIXES))}",
            f"Names: {', '.join(names)}, hf:NAME-or-FOLDER, vectors:FILE.",
        )
    return text_encoder_registry.get(name)(device=device)


@text_encoder_registry.register("minilm")
def _load_minilm(*, device: str) -> TextEncoder:
    return load_packaged_minilm(device=device)


@text_encoder_registry.register("glove")
def _load_glove(*, device: str) -> TextEncoder:
    del device  # word vectors are always read on the CPU
    return WordVectorTextEncoder("glove", load_packaged_glove())
