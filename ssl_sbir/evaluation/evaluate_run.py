"""Evaluation of a run or a named encoder on a data set and split; the result is written to a folder."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from ssl_sbir.data.manifest import Manifest
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.splits import Split
from ssl_sbir.encoders import Encoder, load_encoder
from ssl_sbir.errors import EncoderError, EvaluationError
from ssl_sbir.evaluation.evaluate_encoder import evaluate_encoder
from ssl_sbir.evaluation.from_embeddings import MissingPolicy
from ssl_sbir.evaluation.metrics.protocols import parse_tie_rule
from ssl_sbir.evaluation.metrics.split_evaluation import SplitEvaluation
from ssl_sbir.evaluation.report.write_results import save_evaluation
from ssl_sbir.evaluation.split_features import CenteringMode
from ssl_sbir.evaluation.with_text import add_text_audit, label_embedder
from ssl_sbir.fusion import LabelTextTower, TextTower
from ssl_sbir.fusion.open_text_side import open_text_side
from ssl_sbir.fusion.vocabulary_tower import VOCABULARY_KIND
from ssl_sbir.model_card import write_card
from ssl_sbir.run import PROVENANCE_FILE, RunFolder


@dataclass(frozen=True)
class EvaluationSettings:
    """How to evaluate; see `evaluate_encoder` for each.

    Attributes:
        protocols: preset names; None for all.
        ties: a tie rule that replaces each protocol's own.
        centre: `none` or `train`.
        gzs: generalised protocols.
        bits: lengths of binary codes.
        missing: `exclude` or `error`.
        seed: of sampled galleries, binary codes and the bootstrap.
        device: where to embed.
        cache: whether to read and fill the cache of embeddings.
        text: evaluate queries with text, too, where the text side was not trained: it reads the classes' names, or the
            drawings' own texts. A trained one always is.
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
    text: bool = False


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
    """The evaluation of a run or a named encoder, and the path of its page; both are written.

    Args:
        name: a run folder, or a name of `ssl-sbir encoders`.
        data: data spec.
        split: a published split or JSON file; by default the run's own, or a hashed one.
        settings: what to compute.
        size: image side in pixels of a named encoder.
        fit: how a named encoder resizes images.
        out: folder to write.

    Raises:
        SslSbirError: the run, data, split or protocol is invalid, or there are no test images.
    """
    settings = settings or EvaluationSettings()
    if settings.centre not in get_args(CenteringMode):
        raise EvaluationError(f"unknown centre '{settings.centre}'", "Choose none or train.")
    folder = Path(name)
    run = RunFolder.open(folder) if (folder / PROVENANCE_FILE).is_file() else None
    for option, value in (("size", size), ("fit", fit)):
        if run and value:
            raise EvaluationError(
                f"--{option} {value} with the run {name}: a run keeps the {option} it was trained with",
                f"Leave --{option} out, or name an encoder.",
            )
    manifest = open_data(data)
    facts = run.provenance if run else {}
    chosen = _choose_split(split, facts, manifest)
    encoder = run.encoder() if run else load_encoder(name, size=size, fit=fit)
    tower = _open_text_tower(name, run, encoder, asked_for=settings.text)
    embedder = label_embedder(tower, settings.device) if isinstance(tower, LabelTextTower) else None
    result = evaluate_encoder(
        encoder,
        manifest,
        chosen,
        embedder=embedder,
        frozen=_untrained_encoder(facts) if run else None,
        trained_classes=facts.get("trained_classes") or (),
        labelled_classes=facts.get("labelled_classes"),
        trained_images=run.trained_images() if run else None,
        name=name,
        **_encoder_settings(settings),
    )
    if tower is not None:
        result = _evaluate_text(result, tower, settings)
    root = folder if run else Path("evaluations") / _safe_folder_name(name)
    page = save_evaluation(result, out or root / "evaluate" / _safe_folder_name(chosen.name))
    if run:
        write_card(run, encoder)
    return result, page


def _open_text_tower(
    name: str, run: RunFolder | None, encoder: Encoder, *, asked_for: bool
) -> TextTower | None:
    """The text side to evaluate: a trained one always, another if it is asked for."""
    kind = run.text_kind if run else ""
    if run and kind and kind != VOCABULARY_KIND:
        return run.text_tower(encoder)
    if not asked_for:
        return None
    beside = run.encoder_with_teacher(encoder) if run else None
    if beside is not None:  # as `ssl-sbir index` embeds photos
        both, side = beside
        return side.load_tower(both)
    return run.text_tower(encoder) if run and kind else open_text_side(encoder, name)


def _encoder_settings(settings: EvaluationSettings) -> dict[str, Any]:
    """The settings as `evaluate_encoder` takes them."""
    facts = {**vars(settings), "ties": parse_tie_rule(settings.ties)}
    del facts["text"]
    return facts


def _evaluate_text(
    evaluation: SplitEvaluation, tower: TextTower, settings: EvaluationSettings
) -> SplitEvaluation:
    if settings.centre != "none":
        reason = "texts were fitted to photo features that aren't centred; leave out --centre"
        return _skip_text_audit(evaluation, reason)
    if len(evaluation.features.query_labels.unique()) < 2:
        return _skip_text_audit(
            evaluation, "there are drawings of one class only, so no text contradicts one"
        )
    return add_text_audit(evaluation, tower, seed=settings.seed, device=settings.device)


def _skip_text_audit(evaluation: SplitEvaluation, reason: str) -> SplitEvaluation:
    skipped = {**evaluation.result.skipped, "the audit of the text": reason}
    return replace(evaluation, result=replace(evaluation.result, skipped=skipped))


def _choose_split(name: str | None, facts: dict[str, Any], manifest: Manifest) -> Split:
    if name is not None:
        return Split.from_name(name, manifest.classes)
    recorded = facts.get("split")
    if recorded:
        return Split.from_facts(recorded)
    return Split.from_class_hashes(manifest.classes)


def _untrained_encoder(facts: dict[str, Any]) -> Encoder | None:
    """The untrained encoder at the root of a run; None where its weights are unavailable."""
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
