"""What is evaluated: a run or a named encoder, on which data and split, and where the result goes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder, load_encoder
from ssl_sbir.errors import EncoderError, EvaluationError
from ssl_sbir.evaluation.evaluate import Centre, Evaluation, evaluate
from ssl_sbir.evaluation.report import save_evaluation
from ssl_sbir.run import PROVENANCE, RunFolder


def evaluated(
    name: str,
    data: str,
    split: str | None = None,
    protocol: Sequence[str] | None = None,
    centre: str = "none",
    *,
    size: int | None = None,
    out: Path | None = None,
    device: str = "cpu",
    cache: bool = True,
) -> tuple[Evaluation, Path]:
    """Evaluates a run or a named encoder and writes the result.

    Args:
        name: a run folder, or a name of `ssl-sbir encoders`.
        data: data spec.
        split: a published split or JSON file; by default the run's own, or a hashed one.
        protocol: preset names; None for all.
        centre: `none` or `train`.
        size: image side of a named encoder.
        out: folder to write.
        device: where to embed.
        cache: whether embeddings may be kept and reused.

    Returns:
        The evaluation and the path of its page.

    Raises:
        SslSbirError: run, data, split or protocol are wrong, or there is nothing to test on.
    """
    if centre not in get_args(Centre):
        raise EvaluationError(f"unknown centre '{centre}'", "Choose none or train.")
    folder = Path(name)
    run = RunFolder.open(folder) if (folder / PROVENANCE).is_file() else None
    manifest = open_data(data)
    facts = run.provenance if run else {}
    chosen = _split(split, facts, manifest)
    encoder = run.encoder() if run else load_encoder(name, size=size)
    result = evaluate(
        encoder,
        manifest,
        chosen,
        frozen=_frozen(facts) if run else None,
        protocol=protocol,
        centre=centre,
        trained_classes=facts.get("trained_classes", ()),
        device=device,
        cache=cache,
    )
    result.facts["subject"] = name
    place = out or (folder if run else Path("evaluations") / name.replace("/", "_")) / "evaluate" / chosen.name
    return result, save_evaluation(result, place, name)


def _split(name: str | None, facts: dict[str, Any], manifest: Manifest) -> Split:
    if name is not None:
        return Split.load(name)
    made = facts.get("split")
    if made:
        return Split(made["name"], tuple(made["seen"]), tuple(made["unseen"]))
    return Split.hashed(manifest.classes)


def _frozen(facts: dict[str, Any]) -> Encoder | None:
    """The untrained encoder at the root of a run; None where its weights can't be had any more."""
    start = facts["start"]
    try:
        return load_encoder(start["name"], size=start["size"]) if start["pretrained"] else None
    except EncoderError:
        return None
