"""Which classes an encoder trained on ImageNet-1k has seen labels of.

`imagenet.json` covers the class names of the published splits: the ImageNet classes that are the same thing, a kind of
it (cat: tabby, …), or that clearly include it (beach: seashore; cow: ox), each with its WordNet id. Other names are
compared with the labels of ImageNet-1k, which timm contains.
"""

import json
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from ssl_sbir.data.class_names import normalize_class_name


def imagenet_classes(classes: Iterable[str]) -> dict[str, list[str]]:
    """For each class name the ImageNet-1k classes that cover it, as "n02123045 tabby"; empty if none does."""
    table, labels = _load_imagenet_table(), _imagenet_label_index()
    return {
        name: table.get(normalize_class_name(name), labels.get(normalize_class_name(name), []))
        for name in classes
    }


@cache
def _load_imagenet_table() -> dict[str, list[str]]:
    return json.loads((files("ssl_sbir.evaluation.metrics") / "imagenet.json").read_text("utf-8"))


@cache
def _imagenet_label_index() -> dict[str, list[str]]:
    from timm.data.imagenet_info import ImageNetInfo

    info = ImageNetInfo()
    classes: dict[str, list[str]] = {}
    for index, wordnet in enumerate(info.label_names()):
        words = [word.strip() for word in info.index_to_description(index).split(",")]
        for word in words:
            classes.setdefault(normalize_class_name(word), []).append(f"{wordnet} {words[0]}")
    return classes
