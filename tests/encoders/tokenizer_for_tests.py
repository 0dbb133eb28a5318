"""A tiny tokenizer whose words are whole tokens."""

from pathlib import Path

WORDS = ("a", "red", "house", "owl")


def tokenizer_into(folder: Path, length: int = 16, mark: str = "") -> None:
    """Saves it: [PAD] [UNK] [CLS] [SEP] are 0 to 3, a red house owl are 4 to 7; `mark` begins each word."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(mark + word for word in WORDS)]
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(mark) if mark else pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=made, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=length,
    )  # fmt: skip
    fast.save_pretrained(folder)
