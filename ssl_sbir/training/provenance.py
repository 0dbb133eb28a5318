"""Where a run came from: the facts in its `provenance.json`, and whether two runs are the same."""

import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from ssl_sbir import __version__
from ssl_sbir.config import hash_named_files
from ssl_sbir.data.label_budget import LabelBudget, label_budget_facts
from ssl_sbir.data.splits import Split
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.errors import RunError
from ssl_sbir.files import file_sha256, sha256_of
from ssl_sbir.run import RunFolder
from ssl_sbir.training.recipe import Recipe
from ssl_sbir.training.settings import RecipeConfig
from ssl_sbir.training.starting_run import StartingRun
from ssl_sbir.training.training_request import TrainingRequest

VERSIONED_PACKAGES = ("torch", "torchvision", "lightly", "kornia", "timm", "transformers", "numpy")


def collect_provenance(
    request: TrainingRequest,
    recipe: Recipe,
    data: TrainingSet,
    split: Split | None,
    labels: LabelBudget,
    start: StartingRun | None,
) -> dict[str, Any]:
    """The facts of a run before its first step, JSON-able.

    Args:
        request: what the command requested.
        recipe: the method with its final settings.
        data: the images and labels that the run reads.
        split: seen and unseen classes.
        labels: the budget that was applied to `data`.
        start: the run whose weights this one starts from.
    """
    config, manifest = recipe.config, data.manifest
    return {
        "stage": recipe.stage,
        "recipe": recipe.name,
        "command": sys.argv[1:],
        "data": request.data,
        "photos": request.photos,
        "manifest_sha256": manifest.sha256,
        "split": split and split.facts(),
        **_class_facts(data, start),
        "labels_used": bool(data.classes),
        "labels": label_budget_facts(labels, data) if data.classes else None,
        "images": {d.name.lower(): len(rows) for d, rows in data.rows.items()},
        "left_out": [b.key for b in data.pack.broken],
        "lost": list(manifest.read_errors),
        "rows_sha256": sha256_of(*(rows.tobytes() for rows in data.rows.values())),
        "files": {**hash_named_files(config.model_dump(mode="json")), **_hash_own_files(request, start)},
        "start": start.root_encoder if start else config.encoder.model_dump(),
        "from": str(request.start) if request.start else None,
        "seed": config.seed,
        "versions": {"ssl-sbir": __version__, "python": platform.python_version(), **_package_versions()},
        "git": _git_commit(),
    }


def _class_facts(data: TrainingSet, start: StartingRun | None) -> dict[str, list[str]]:
    """The classes whose images or labels were read, by this run or by those it starts from."""
    manifest = data.manifest
    codes = np.unique(np.concatenate([manifest.label[rows] for rows in data.rows.values()]))
    names = {
        "trained_classes": {manifest.classes[code] for code in codes if code >= 0},
        "labelled_classes": set(data.classes),
    }
    return {key: sorted(own | (start.class_names(key) if start else set())) for key, own in names.items()}


def _hash_own_files(request: TrainingRequest, start: StartingRun | None) -> dict[str, str]:
    """Hashes of the user's recipe file and of the weights that a run starts from."""
    hashes = {"recipe": file_sha256(Path(request.recipe))} if request.recipe.endswith(".py") else {}
    return hashes | ({"--from": start.model_sha256} if start else {})


def _package_versions() -> dict[str, str]:
    versions = {}
    for name in VERSIONED_PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """The commit of the checkout that the package runs from, marked if it has changes; None without a checkout."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()


def check_same_run(path: Path, config: RecipeConfig, facts: Mapping[str, Any]) -> None:
    """Checks that the unfinished run in a folder is the one that is requested.

    Args:
        path: the run folder to resume.
        config: the requested settings.
        facts: the provenance that the requested run would have.

    Raises:
        RunError: the run is finished, or was made with other data, settings or an earlier version.
    """
    run = RunFolder.open(path)
    if run.is_finished:
        raise RunError(f"{path} is finished: nothing to resume", "Start over with --overwrite.")
    if renamed := run.renamed_keys():
        names = ", ".join(f"'{old}' is now '{new}'" for old, new in renamed.items())
        raise RunError(
            f"{path} was begun by an earlier version, with settings that have new names: {names}",
            "It can't be resumed: start over with --overwrite.",
        )
    requested = _run_identity(facts)
    for key, value in _run_identity(run.provenance).items():
        if value != requested.get(key):
            raise RunError(
                f"{path} was made with another {key.replace('_', ' ')} ({value})",
                "Resume with the command that started it, or start over with --overwrite.",
            )
    if run.config != config.model_dump(mode="json"):
        raise RunError(f"{path} was made with other settings", f"They are in {path}/config.yaml.")


def _run_identity(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What must be equal for a run to be resumed rather than mixed with another."""
    split, labels = facts["split"] or {"sha256": None}, facts.get("labels") or {"sha256": None}
    shared = {key: facts[key] for key in ("recipe", "manifest_sha256", "start", "from")}
    readable = {"set of readable images": facts.get("rows_sha256")}
    files = {f"file of {key}": digest for key, digest in facts.get("files", {}).items()}
    return {**shared, "split": split["sha256"], "labels": labels["sha256"], **readable, **files}
