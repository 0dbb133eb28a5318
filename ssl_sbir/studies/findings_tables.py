"""A study's findings as rows, for CSV, LaTeX and the page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_sbir.reports.tables import escape_latex, latex_table
from ssl_sbir.studies.label_findings import Estimate, LabelFindings, describe_label_amount

FindingsRows = list[dict[str, Any]]


def point_rows(findings: LabelFindings) -> FindingsRows:
    """One row per point of a curve: labels, accuracy with its interval, numbers of seeds with and without a result."""
    rows: FindingsRows = []
    for series in findings.ordered_series:
        for index, point in enumerate(findings.curve_points(series)):
            value = findings.estimate_accuracy(series, index)
            runs = {"seeds": int(point.has_run.sum()), "failed": len(point.failure_causes)}
            labels = {
                "curve": series.describe_series(findings.study),
                "amount": describe_label_amount(point.amount),
                "labels": point.labels,
            }
            rows.append({**labels, **_interval_columns("accuracy", value), **runs})
    return rows


def saving_rows(findings: LabelFindings) -> FindingsRows:
    """One row per curve and amount of the reference's labels: the labels that the curve needs for the same accuracy."""
    return [
        {
            "curve": one.series.describe_series(findings.study),
            "reference": f"{findings.reference_series.describe_series(findings.study)} · {describe_label_amount(one.amount)}",
            "reference_labels": one.labels,
            "accuracy": one.target,
            **_interval_columns("needed", one.needed_labels),
            **_interval_columns("saved", one.saved_labels),
            "share_of_draws_that_reach_it": one.reached_share,
        }
        for one in findings.label_savings
    ]


def area_rows(findings: LabelFindings) -> FindingsRows:
    """One row per curve: the area under it."""
    return [
        {
            "curve": one.describe_series(findings.study),
            **_interval_columns("area", findings.estimate_area(one)),
            "dips": findings.count_dips(one),
        }
        for one in findings.ordered_series
    ]


def class_rows(findings: LabelFindings) -> FindingsRows:
    """One row per curve and unseen class: accuracy at the curve's first and last point."""
    return [
        {
            "curve": series.describe_series(findings.study),
            "class": gain.name,
            "first": gain.first,
            "last": gain.last,
            "gain": gain.gain,
        }
        for series in findings.ordered_series
        for gain in findings.class_gains(series)
    ]


def study_rows_to_latex(rows: Sequence[Mapping[str, Any]], note: str) -> str:
    """A LaTeX tabular (booktabs) with three decimals."""
    head = list(rows[0]) if rows else []
    body = [[_format_latex_cell(row[name]) for name in head] for row in rows]
    alignment = "".join(
        "l" if isinstance(value, str) else "r" for value in (rows[0].values() if rows else ())
    )
    return latex_table([name.replace("_", " ") for name in head], body, alignment, note)


def _interval_columns(name: str, value: Estimate) -> dict[str, float]:
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def _format_latex_cell(value: Any) -> str:
    if isinstance(value, float):
        if math.isinf(value):
            return r"$\infty$" if value > 0 else r"$-\infty$"
        return f"${value:,.0f}$" if abs(value) >= 10 or value == int(value) else f"${value:.3f}$"
    return escape_latex(str(value))
