"""The page of a label study, and its tables as CSV and LaTeX."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_sbir.evaluation import compare_tables
from ssl_sbir.files import write_atomic
from ssl_sbir.reports.render import json_text, render_template
from ssl_sbir.reports.svg_charts import StripValue, strip_chart, top_of_scale
from ssl_sbir.reports.svg_curves import Curve, CurvePoint, label_chart, legend_mark
from ssl_sbir.reports.tables import csv_text
from ssl_sbir.run import RunFolder
from ssl_sbir.studies.curve_points import CurveSeries, compute_study_curves
from ssl_sbir.studies.findings_tables import (
    area_rows,
    class_rows,
    point_rows,
    saving_rows,
    study_rows_to_latex,
)
from ssl_sbir.studies.label_findings import Estimate, LabelFindings, LabelSaving, describe_label_amount
from ssl_sbir.studies.label_study import LabelStudy
from ssl_sbir.studies.study_table import StudyRow, StudyTable

DEFAULT_LABEL_PRICE = 0.10


def write_label_report(
    study: LabelStudy, table: StudyTable, out: Path, price: float = DEFAULT_LABEL_PRICE
) -> dict[str, Any]:
    """Writes `index.html`, CSV and LaTeX of a study into its folder.

    Args:
        study: the study.
        table: as `run_study` returned it.
        out: folder of the study.
        price: initial price of a label in the cost calculator, in any currency.

    Returns:
        JSON-able facts: the result in words, the findings, and the path of the page.

    Raises:
        EvaluationError: no run has a result.
    """
    findings = LabelFindings(study, compute_study_curves(study, table))
    tables = {"points": point_rows, "savings": saving_rows, "areas": area_rows, "classes": class_rows}
    rows = {name: build_rows(findings) for name, build_rows in tables.items()}
    for name, found in rows.items():
        write_atomic(out / f"{name}.csv", csv_text(found))
        write_atomic(
            out / f"{name}.tex",
            study_rows_to_latex(found, f"{study.metric_column}, {study.seeds} seeds, 95 % intervals"),
        )
    for ending in (".csv", ".tex"):
        tests = (
            compare_tables.COMPARISON_FORMATS[ending](findings.paired_tests) if findings.paired_tests else ""
        )
        write_atomic(out / f"tests{ending}", tests)
    answers = [describe_final_saving(findings, series) for series in findings.ordered_series[1:]]
    failed = [row.to_columns() for row in table.rows if row.has_failed]
    facts = {"answers": answers, **rows, "failed": failed}
    write_atomic(out / "study.json", json_text(facts, indent=1))
    write_atomic(
        out / "index.html", render_template("labels.html.j2", label_page_facts(findings, facts, table, price))
    )
    return {**facts, "page": str(out / "index.html")}


def describe_final_saving(findings: LabelFindings, series: CurveSeries) -> str:
    """One sentence: the labels that a curve needs for what the reference reaches with its most labels."""
    study, saving = findings.study, findings.final_saving(series)
    name, other = series.describe_series(study), findings.reference_series.describe_series(study)
    if saving is None:
        return f"{other} has no result with labels, so the labels that {name} saves are unknown."
    target = f"what {other} reaches with {describe_label_amount(saving.amount)} ({saving.target:.3f})"
    if math.isinf(saving.needed_labels.value):
        return (
            f"Within the labels studied, {name} does not reach {target}: {_describe_reached_draws(saving)}."
        )
    needed = saving.needed_labels
    count, low, high, whole = map(_format_label_count, (needed.value, needed.low, needed.high, saving.labels))
    return (
        f"With {count} of {whole} labels ({needed.value / saving.labels:.0%}), {name} reaches {target}; "
        f"95 % interval {low} to {high}, {_describe_reached_draws(saving)}."
    )


def label_page_facts(
    findings: LabelFindings, facts: dict[str, Any], table: StudyTable, price: float
) -> dict[str, Any]:
    """The variables of the page's template."""
    study, evaluation = findings.study, findings.curves.evaluation.facts
    return {
        **facts,
        "study": study,
        "reference": findings.reference_series.describe_series(study),
        "chart": _build_label_chart(findings),
        "legend": [
            (legend_mark(n), series.describe_series(study))
            for n, series in enumerate(findings.ordered_series)
        ],
        "split": evaluation["split"],
        "counts": evaluation["counts"],
        "size": " or ".join(map(str, sorted(set().union(*findings.curves.image_sizes.values())))),
        "tests": compare_tables.comparison_rows(findings.paired_tests) if findings.paired_tests else [],
        "test_head": compare_tables.COMPARISON_HEADER,
        "test_note": compare_tables.COMPARISON_NOTE,
        "costs": [_cost_facts(findings, series) for series in findings.ordered_series[1:]],
        "price": price,
        "gains": [_class_gain_facts(findings, series) for series in findings.ordered_series],
        "runs": len(table.rows),
        "scratch": "scratch" in study.starts,
        "notes": [
            *_notes_on_missing_curves(findings),
            *_notes_on_image_sizes(findings),
            *_notes_on_seeds(study, table),
        ],
    }


def _notes_on_missing_curves(findings: LabelFindings) -> Iterator[str]:
    for series in findings.curves.points_by_series:
        if series not in findings.ordered_series:
            name = series.describe_series(findings.study)
            yield f"{name} has no curve: none of its runs had a result. The causes are listed below."


def _notes_on_image_sizes(findings: LabelFindings) -> Iterator[str]:
    sizes = findings.curves.image_sizes
    if len(set().union(*sizes.values())) > 1:
        listed = "; ".join(f"{start} {', '.join(map(str, sorted(own)))} px" for start, own in sizes.items())
        yield (
            f"The starts use images of different sizes ({listed}), which may explain their differences. "
            "Compare them at one size: --set encoder.size=PIXELS."
        )


def _notes_on_seeds(study: LabelStudy, table: StudyTable) -> Iterator[str]:
    """Limits of the intervals."""
    if study.seeds < 5:
        yield (
            f"Few seeds: resampling {study.seeds} of them says little about others; read the intervals as lower bounds "
            "of the uncertainty."
        )
    seen = dict[str, StudyRow]()
    for row in table.rows:
        if row.has_failed or not row.cell.trained or row.cell.labels.amount == "all":
            continue
        labels_sha256 = RunFolder(row.run).provenance["labels"]["sha256"]
        first = seen.setdefault(f"{row.cell.start} {row.cell.choice} {labels_sha256}", row)
        if first.cell.seed != row.cell.seed:
            amount = describe_label_amount(row.cell.labels.amount)
            yield (
                f"More seeds than data: {amount}, seeds {first.cell.seed} and {row.cell.seed} of "
                f"{row.cell.start} use the same labels."
            )


def _build_label_chart(findings: LabelFindings) -> Any:
    study = findings.study
    curves, ticks = [], dict[float, str]()
    for series in findings.ordered_series:
        dots = []
        for index, point in enumerate(findings.curve_points(series)):
            assert point.labels is not None
            value = findings.estimate_accuracy(series, index)
            ticks[point.labels] = f"{point.labels:,.0f}"
            amount = f"{describe_label_amount(point.amount)} ({point.labels:,.0f})"
            text = f"{series.describe_series(study)}, {amount}: {_format_estimate(value)}"
            dots.append(
                CurvePoint(point.labels, value.value, value.low, value.high, text, not point.failure_causes)
            )
        missing = [
            p.labels
            for p in findings.curves.points_by_series[series]
            if p.labels is not None and not p.has_run.any()
        ]
        curves.append(Curve(series.describe_series(study), dots, missing))
    description = f"{study.metric_column} over the number of labels. " + " ".join(
        f"{one.name}: " + ", ".join(f"{dot.value:.3f} with {dot.labels:,.0f}" for dot in one.points) + "."
        for one in curves
    )
    return label_chart(curves, findings.smallest_label_count, sorted(ticks.items()), description)


def _cost_facts(findings: LabelFindings, series: CurveSeries) -> dict[str, Any]:
    saving = findings.final_saving(series)
    known = saving is not None and math.isfinite(saving.saved_labels.value)
    return {
        "name": series.describe_series(findings.study),
        "saved": [saving.saved_labels.low, saving.saved_labels.value, saving.saved_labels.high]
        if saving and known
        else None,
        "labels": saving.labels if saving else None,
    }


def _class_gain_facts(findings: LabelFindings, series: CurveSeries) -> dict[str, Any]:
    gains, points = findings.class_gains(series), findings.curve_points(series)
    most = top_of_scale([max(one.first, one.last) for one in gains])
    rows = [
        {**vars(one), "gain": one.gain, "strip": strip_chart(StripValue(one.last, most, baseline=one.first))}
        for one in gains
    ]
    first, last = describe_label_amount(points[0].amount), describe_label_amount(points[-1].amount)
    return {"name": series.describe_series(findings.study), "rows": rows, "first": first, "last": last}


def _describe_reached_draws(saving: LabelSaving) -> str:
    return f"reached in {saving.reached_share:.0%} of the bootstrap's draws"


def _format_label_count(labels: float) -> str:
    return "more than were studied" if math.isinf(labels) else f"{labels:,.0f}"


def _format_estimate(value: Estimate) -> str:
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"
