"""An evaluation in lines of text: the same facts as `results.json`, for a terminal."""

from typing import Any

CELL = 15


def summary(facts: dict[str, Any], width: int = 100) -> list[str]:
    """The lines of an evaluation: verdict, what was measured, one table with a column a protocol, audits.

    Args:
        facts: `Evaluation.json()`.
        width: characters of a line; the table is cut into several where it doesn't fit.
    """
    names = list(facts["protocols"])
    fit = max(1, (width - 24) // CELL)
    lines = [facts["verdict"], _measured(facts), ""]
    for start in range(0, len(names), fit):
        lines += [*_table(facts, names[start : start + fit]), ""]
    lines += [f"{name} left out: {why}" for name, why in facts["skipped"].items()]
    return [
        *lines,
        *_denominators(facts),
        *_instances(facts),
        *_codes(facts),
        *_generalised(facts),
        *_text(facts),
        *_audits(facts),
    ]


def _measured(facts: dict[str, Any]) -> str:
    counts, covered = facts["counts"], facts["imagenet"]["classes"]
    split = f"{facts['split']['name']} (sha {facts['split']['sha256'][:8]}…) · " if "split" in facts else ""
    centre = " · means of training images subtracted" if facts.get("centre") == "train" else ""
    left = f" · {counts['without_relevant']:,} queries without a relevant item left out" * bool(
        counts["without_relevant"]
    )
    return (
        f"{split}{counts['queries']:,} sketches → {counts['gallery']:,} photos · {counts['classes']} classes, "
        f"{len(covered)} of them in ImageNet-1k{left}{centre}"
    )


def _table(facts: dict[str, Any], names: list[str]) -> list[str]:
    lines = ["".join([" " * 24, *(f"{name:<{CELL}}" for name in names)]).rstrip()]
    metrics = dict.fromkeys(
        m for name in names for m in ("mAP@all", "mAP@200", "P@100", "P@200") if m in facts["protocols"][name]
    )
    for metric in metrics:
        lines += [
            _row(label, [cell(name) for name in names])
            for label, cell in _rows(facts, metric)
            if any(cell(name) != "–" for name in names)
        ]
    return lines


def _rows(facts: dict[str, Any], metric: str) -> list[tuple[str, Any]]:
    protocols, outside = facts["protocols"], facts["imagenet"].get("without_imagenet", {})
    frozen = facts.get("frozen") or {}

    def mean(name: str) -> str:
        half = protocols[name]["interval_queries"].get(metric)
        return _number(protocols[name].get(metric)) + (
            f" ±{_number((half['high'] - half['low']) / 2)}" if half else ""
        )

    rows = [
        (f"{metric}  frozen", lambda name: _number(frozen.get(name, {}).get(metric))),
        (f"{metric}  this", mean),
    ]
    if metric == "mAP@all":
        rows.append(("  … mean of classes", lambda name: _number(protocols[name]["macro"].get(metric))))
    if facts["imagenet"]["classes"] and facts["imagenet"]["others"]:
        rows.append(("  … not in ImageNet", lambda name: _number(outside.get(name, {}).get(metric))))
    if metric == "mAP@all" and facts["chance"]:
        rows.append(
            ("  … by chance", lambda name: _number(facts["chance"]["mAP@all"]) if name == "standard" else "–")
        )
    return rows


def _row(label: str, cells: list[str]) -> str:
    return "".join([f"{label:<24}", *(f"{cell:<{CELL}}" for cell in cells)]).rstrip()


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}".removeprefix("0") if value < 1 else f"{value:.2f}"


def _denominators(facts: dict[str, Any]) -> list[str]:
    parts = [f"÷ {name} {_number(value)}" for name, value in facts["denominators"].items()]
    return [f"one ranking, one AP@200, four denominators: {'   '.join(parts)}"] if parts else []


def _instances(facts: dict[str, Any]) -> list[str]:
    return [
        f"own photo, {where}: "
        + "   ".join(f"{name} {_number(value)}" for name, value in one.items() if "@" in name)
        for where, one in facts["instances"].items()
    ]


def _codes(facts: dict[str, Any]) -> list[str]:
    return [
        f"{bits} bit (ITQ of training features): " + "   ".join(_means(protocols))
        for bits, protocols in facts["codes"].items()
    ]


def _generalised(facts: dict[str, Any]) -> list[str]:
    return [
        f"generalised '{name}' ({one['queries']:,} → {one['gallery']:,}, {one['added']}): "
        + "   ".join(_means(one["protocols"]))
        for name, one in facts["generalised"].items()
    ]


def _means(protocols: dict[str, dict[str, float]]) -> list[str]:
    return [
        f"{name} {_number(metrics['mAP@all'])}" for name, metrics in protocols.items() if "mAP@all" in metrics
    ]


def _text(facts: dict[str, Any]) -> list[str]:
    """What a text beside the drawing is worth, and which of them decides."""
    audit = facts["audits"].get("text dominance")
    if audit is None:
        return []
    found, conflict, gap = audit["found"], audit["conflict"], audit["gap"]
    alone = "   ".join(
        f"{name} {_number(one['mean'])} ±{_number((one['high'] - one['low']) / 2)}"
        for name, one in found.items()
        if "," not in name
    )
    sweep = "   ".join(f"{one['share']:.1f}: {_number(one['mAP'])}" for one in audit["sweep"])
    return [
        f"drawing and text, mAP@all: {alone}   (weight of the drawing {audit['share']:.2f})",
        f"  against another class's text the top 10 follow the drawing {conflict['drawing']:.0%}, the text "
        f"{conflict['text']:.0%}; the drawing keeps {conflict['kept']['mean']:.0%}",
        f"  by weight of the drawing  {sweep}",
        f"  Shapley share of the drawing {audit['shapley']['sketch_share']:.0%} · right first: one side alone "
        f"{gap['one alone']:.0%}, only both {gap['only both']:.0%}, lost by both {gap['lost']:.0%}",
    ]


def _audits(facts: dict[str, Any]) -> list[str]:
    told = dict.fromkeys(audit["summary"] for audit in facts["audits"].values())
    return [f"audits: {' · '.join(told)}"] if told else []
