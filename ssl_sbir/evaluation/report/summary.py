"""An evaluation as lines of text for a terminal, from the facts of `results.json`."""

from typing import Any

SUMMARY_CELL_WIDTH = 15


def format_evaluation_summary(facts: dict[str, Any], width: int = 100) -> list[str]:
    """The lines of an evaluation: verdict, scope, tables with one column per protocol, audits.

    Args:
        facts: `Evaluation.to_json()`.
        width: of a line in characters; a wider table is split.
    """
    names = list(facts["protocols"])
    fit = max(1, (width - 24) // SUMMARY_CELL_WIDTH)
    lines = [facts["verdict"], _format_scope(facts), ""]
    for start in range(0, len(names), fit):
        lines += [*_format_protocol_table(facts, names[start : start + fit]), ""]
    lines += [f"{name} skipped: {reason}" for name, reason in facts["skipped"].items()]
    return [
        *lines,
        *_format_denominators(facts),
        *_format_instances(facts),
        *_format_binary_codes(facts),
        *_format_generalized(facts),
        *_format_text_audit(facts),
        *_format_audits(facts),
    ]


def _format_scope(facts: dict[str, Any]) -> str:
    counts, covered = facts["counts"], facts["imagenet"]["classes"]
    split = f"{facts['split']['name']} (sha {facts['split']['sha256'][:8]}…) · " if "split" in facts else ""
    centre = " · means of training images subtracted" if facts.get("centre") == "train" else ""
    excluded = f" · {counts['without_relevant']:,} queries without a relevant item excluded" * bool(
        counts["without_relevant"]
    )
    return (
        f"{split}{counts['queries']:,} sketches → {counts['gallery']:,} photos · {counts['classes']} classes, "
        f"{len(covered)} of them in ImageNet-1k{excluded}{centre}"
    )


def _format_protocol_table(facts: dict[str, Any], names: list[str]) -> list[str]:
    lines = ["".join([" " * 24, *(f"{name:<{SUMMARY_CELL_WIDTH}}" for name in names)]).rstrip()]
    metrics = dict.fromkeys(
        m for name in names for m in ("mAP@all", "mAP@200", "P@100", "P@200") if m in facts["protocols"][name]
    )
    for metric in metrics:
        lines += [
            _format_summary_row(label, [cell(name) for name in names])
            for label, cell in _metric_rows(facts, metric)
            if any(cell(name) != "–" for name in names)
        ]
    return lines


def _metric_rows(facts: dict[str, Any], metric: str) -> list[tuple[str, Any]]:
    protocols, outside = facts["protocols"], facts["imagenet"].get("without_imagenet", {})
    frozen = facts.get("frozen") or {}

    def format_mean(name: str) -> str:
        half = protocols[name]["interval_queries"].get(metric)
        return _format_score(protocols[name].get(metric)) + (
            f" ±{_format_score((half['high'] - half['low']) / 2)}" if half else ""
        )

    rows = [
        (f"{metric}  frozen", lambda name: _format_score(frozen.get(name, {}).get(metric))),
        (f"{metric}  this", format_mean),
    ]
    if metric == "mAP@all":
        rows.append(("  … mean of classes", lambda name: _format_score(protocols[name]["macro"].get(metric))))
    if facts["imagenet"]["classes"] and facts["imagenet"]["others"]:
        rows.append(("  … not in ImageNet", lambda name: _format_score(outside.get(name, {}).get(metric))))
    if metric == "mAP@all" and facts["chance"]:
        rows.append(
            (
                "  … by chance",
                lambda name: _format_score(facts["chance"]["mAP@all"]) if name == "standard" else "–",
            )
        )
    return rows


def _format_summary_row(label: str, cells: list[str]) -> str:
    return "".join([f"{label:<24}", *(f"{cell:<{SUMMARY_CELL_WIDTH}}" for cell in cells)]).rstrip()


def _format_score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".removeprefix("0") if value < 1 else f"{value:.2f}"


def _format_denominators(facts: dict[str, Any]) -> list[str]:
    parts = [f"÷ {name} {_format_score(value)}" for name, value in facts["denominators"].items()]
    return [f"mAP@200 of one ranking, four denominators: {'   '.join(parts)}"] if parts else []


def _format_instances(facts: dict[str, Any]) -> list[str]:
    return [
        f"own photo, {where}: "
        + "   ".join(f"{name} {_format_score(value)}" for name, value in one.items() if "@" in name)
        for where, one in facts["instances"].items()
    ]


def _format_binary_codes(facts: dict[str, Any]) -> list[str]:
    return [
        f"{bits} bit (ITQ of training features): " + "   ".join(_format_protocol_means(protocols))
        for bits, protocols in facts["codes"].items()
    ]


def _format_generalized(facts: dict[str, Any]) -> list[str]:
    return [
        f"generalised '{name}' ({one['queries']:,} → {one['gallery']:,}, {one['added']}): "
        + "   ".join(_format_protocol_means(one["protocols"]))
        for name, one in facts["generalised"].items()
    ]


def _format_protocol_means(protocols: dict[str, dict[str, float]]) -> list[str]:
    return [
        f"{name} {_format_score(metrics['mAP@all'])}"
        for name, metrics in protocols.items()
        if "mAP@all" in metrics
    ]


def _format_text_audit(facts: dict[str, Any]) -> list[str]:
    """How much text and drawing contribute, and which of them dominates."""
    audit = facts["audits"].get("text dominance")
    if audit is None:
        return []
    found, conflict, gap = audit["found"], audit["conflict"], audit["gap"]
    alone = "   ".join(
        f"{name} {_format_score(one['mean'])} ±{_format_score((one['high'] - one['low']) / 2)}"
        for name, one in found.items()
        if "," not in name
    )
    sweep = "   ".join(f"{one['share']:.1f}: {_format_score(one['mAP'])}" for one in audit["sweep"])
    return [
        f"drawing and text, mAP@all: {alone}   (weight of the drawing {audit['share']:.2f})",
        f"  with a text of another class, {conflict['drawing']:.0%} of the top 10 are of the drawing's class and "
        f"{conflict['text']:.0%} of the text's; the drawing keeps {conflict['kept']['mean']:.0%}",
        f"  mAP@all by weight of the drawing  {sweep}",
        f"  Shapley share of the drawing {audit['shapley']['sketch_share']:.0%} · relevant photo first: one side "
        f"alone {gap['one alone']:.0%}, only both {gap['only both']:.0%}, lost with both {gap['lost']:.0%}",
    ]


def _format_audits(facts: dict[str, Any]) -> list[str]:
    summaries = dict.fromkeys(audit["summary"] for audit in facts["audits"].values())
    return [f"audits: {' · '.join(summaries)}"] if summaries else []
