"""What is evaluated: a run or a named encoder, on which data and split, and where the result goes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from ssl_sbir.card import write_card
from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder, load_encoder
from ssl_sbir.errors import EncoderError, EvaluationError
from ssl_sbir.evaluation.embeddings import Missing
from ssl_sbir.evaluation.evaluate import Evaluated, evaluate
from ssl_sbir.evaluation.protocols import tie_rule
from ssl_sbir.evaluation.report import save_evaluation
from ssl_sbir.evaluation.split_features import Centre
from ssl_sbir.evaluation.with_text import label_reader, with_text
from ssl_sbir.fusion import LabelTower
from ssl_sbir.run import PROVENANCE, RunFolder


@dataclass(frozen=True)
class How:
    """How to evaluate; see `evaluate` for each.

    Attributes:
        protocols: preset names; None for all.
        ties: a tie rule in the place of each protocol's own.
        centre: `none` or `train`.
        gzs: generalised protocols.
        bits: lengths of binary codes.
        missing: `exclude` or `error`.
        seed: of everything that is drawn.
        device: where to embed.
        cache: whether embeddings may be kept and reused.
    """

    protocols: Sequence[str] | None = None
    ties: str | None = None
    centre: str = "none"
    gzs: Sequence[str] = ()
    bits: Sequence[int] = ()
    missing: Missing = "exclude"
    seed: int = 0
    device: str = "cpu"
    cache: bool = True


def evaluated(
    name: str,
    data: str,
    split: str | None = None,
    how: How | None = None,
    *,
    size: int | None = None,
    fit: str | None = None,
    out: Path | None = None,
) -> tuple[Evaluated, Path]:
    """Evaluates a run or a named encoder and writes the result.

    Args:
        name: a run folder, or a name of `ssl-sbir encoders`.
        data: data spec.
        split: a published split or JSON file; by default the run's own, or a hashed one.
        how: what to compute.
        size: image side of a named encoder.
        fit: how images reach that size, of a named encoder.
        out: folder to write.

    Returns:
        The evaluation and the path of its page.

    Raises:
        SslSbirError: run, data, split or protocol are wrong, or there is nothing to test on.
    """
    how = how or How()
    if how.centre not in get_args(Centre):
        raise EvaluationError(f"unknown centre '{how.centre}'", "Choose none or train.")
    folder = Path(name)
    run = RunFolder.open(folder) if (folder / PROVENANCE).is_file() else None
    for option, value in (("size", size), ("fit", fit)):
        if run and value:
            raise EvaluationError(
                f"--{option} {value} with the run {name}: a run keeps the {option} it was trained at",
                f"Leave --{option} out, or name an encoder.",
            )
    manifest = open_data(data)
    facts = run.provenance if run else {}
    chosen = _split(split, facts, manifest)
    encoder = run.encoder() if run else load_encoder(name, size=size, fit=fit)
    tower = run.text_tower(encoder) if run and run.takes_text else None
    reader = label_reader(tower, how.device) if isinstance(tower, LabelTower) else None
    result = evaluate(
        encoder,
        manifest,
        chosen,
        embedder=reader,
        frozen=_frozen(facts) if run else None,
        trained_classes=facts.get("trained_classes") or (),
        labelled_classes=facts.get("labelled_classes"),
        trained_images=run.trained_images() if run else None,
        name=name,
        **{**vars(how), "ties": tie_rule(how.ties)},
    )
    if tower is not None and how.centre == "none":
        result = with_text(result, tower, seed=how.seed, device=how.device)
    elif tower is not None:
        why = "centred photos don't lie where texts were fitted to; leave out --centre"
        skipped = {**result.result.skipped, "the audit of the text": why}
        result = replace(result, result=replace(result.result, skipped=skipped))
    place = out or (folder if run else Path("evaluations") / _safe(name)) / "evaluate" / _safe(chosen.name)
    page = save_evaluation(result, place)
    if run:
        write_card(run, encoder)
    return result, page


def _split(name: str | None, facts: dict[str, Any], manifest: Manifest) -> Split:
    if name is not None:
        return Split.named(name, manifest.classes)
    made = facts.get("split")
    if made:
        return Split.of(made)
    return Split.hashed(manifest.classes)


def _frozen(facts: dict[str, Any]) -> Encoder | None:
    """The untrained encoder at the root of a run; None where its weights can't be had any more."""
    start = facts.get("start")
    try:
        if not start or not start["pretrained"]:
            return None
        return load_encoder(start["name"], size=start["size"], fit=start.get("fit"))
    except EncoderError:
        return None


def _safe(name: str) -> str:
    return (
        "".join(sign if sign.isalnum() or sign in "-_.+" else "_" for sign in name).strip(".") or "evaluation"
    )
