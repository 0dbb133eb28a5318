"""What is evaluated: a run or a named encoder, on which data and split, and where the result goes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder, load_encoder
from ssl_sbir.errors import EncoderError, EvaluationError
from ssl_sbir.evaluation.evaluate_run import SplitEvaluation, evaluate_encoder
from ssl_sbir.evaluation.from_embeddings import MissingPolicy
from ssl_sbir.evaluation.metrics.protocols import parse_tie_rule
from ssl_sbir.evaluation.report.write_results import save_evaluation
from ssl_sbir.evaluation.split_features import CenteringMode
from ssl_sbir.evaluation.with_text import add_text_audit, label_embedder
from ssl_sbir.fusion import LabelTextTower
from ssl_sbir.model_card import write_card
from ssl_sbir.run import PROVENANCE_FILE, RunFolder


@dataclass(frozen=True)
class EvaluationSettings:
    """How to evaluate; see `evaluate` for each.

    Attributes:
        protocols: preset names; None for all.
        ties: a tie rule in the place of each protocol's own.
        centre: `none` or `enter_training_mode`.
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
    missing: MissingPolicy = "exclude"
    seed: int = 0
    device: str = "cpu"
    cache: bool = True


def evaluate_run(
    name: str,
    data: str,
    split: str | None = None,
    settings: EvaluationSettings | None = None,
    *,
    size: int | None = None,
    fit: str | None = None,
    out: Path | None = None,
) -> tuple[SplitEvaluation, Path]:
    """Evaluates a run or a named encoder and writes the result.

    Args:
        name: a run folder, or a name of `ssl-sbir encoders`.
        data: data spec.
        split: a published split or JSON file; by default the run's own, or a hashed one.
        settings: what to compute.
        size: image side of a named encoder.
        fit: how images reach that size, of a named encoder.
        out: folder to write.

    Returns:
        The evaluation and the path of its page.

    Raises:
        SslSbirError: run, data, split or protocol are wrong, or there is nothing to test on.
    """
    settings = settings or EvaluationSettings()
    if settings.centre not in get_args(CenteringMode):
        raise EvaluationError(f"unknown centre '{settings.centre}'", "Choose none or train.")
    folder = Path(name)
    run = RunFolder.open(folder) if (folder / PROVENANCE_FILE).is_file() else None
    for option, value in (("size", size), ("fit", fit)):
        if run and value:
            raise EvaluationError(
                f"--{option} {value} with the run {name}: a run keeps the {option} it was trained at",
                f"Leave --{option} out, or name an encoder.",
            )
    manifest = open_data(data)
    facts = run.provenance if run else {}
    chosen = _choose_split(split, facts, manifest)
    encoder = run.encoder() if run else load_encoder(name, size=size, fit=fit)
    tower = run.text_tower(encoder) if run and run.takes_text else None
    reader = label_embedder(tower, settings.device) if isinstance(tower, LabelTextTower) else None
    result = evaluate_encoder(
        encoder,
        manifest,
        chosen,
        embedder=reader,
        frozen=_untrained_encoder(facts) if run else None,
        trained_classes=facts.get("trained_classes") or (),
        labelled_classes=facts.get("labelled_classes"),
        trained_images=run.trained_images() if run else None,
        name=name,
        **{**vars(settings), "ties": parse_tie_rule(settings.ties)},
    )
    if tower is not None and settings.centre == "none":
        result = add_text_audit(result, tower, seed=settings.seed, device=settings.device)
    elif tower is not None:
        why = "centred photos don't lie where texts were fitted to; leave out --centre"
        skipped = {**result.result.skipped, "the audit of the text": why}
        result = replace(result, result=replace(result.result, skipped=skipped))
    place = out or (
        folder if run else Path("evaluations") / _safe_folder_name(name)
    ) / "evaluate" / _safe_folder_name(chosen.name)
    page = save_evaluation(result, place)
    if run:
        write_card(run, encoder)
    return result, page


def _choose_split(name: str | None, facts: dict[str, Any], manifest: Manifest) -> Split:
    if name is not None:
        return Split.from_name(name, manifest.classes)
    made = facts.get("split")
    if made:
        return Split.from_facts(made)
    return Split.from_class_hashes(manifest.classes)


def _untrained_encoder(facts: dict[str, Any]) -> Encoder | None:
    """The untrained encoder at the root of a run; None where its weights can't be had any more."""
    start = facts.get("start")
    try:
        if not start or not start["pretrained"]:
            return None
        return load_encoder(start["name"], size=start["size"], fit=start.get("fit"))
    except EncoderError:
        return None


def _safe_folder_name(name: str) -> str:
    return (
        "".join(sign if sign.isalnum() or sign in "-_.+" else "_" for sign in name).strip(".") or "evaluation"
    )
