"""A study's findings as rows, for CSV, LaTeX and the page."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_sbir.evaluation.compare_tables import LATEX_ESCAPES
from ssl_sbir.studies.label_findings import Estimate, LabelFindings, describe_label_amount

FindingsRows = list[dict[str, Any]]


def point_rows(findings: LabelFindings) -> FindingsRows:
    """One row a point of a curve: labels, accuracy with its interval, seeds with a result and without."""
    found: FindingsRows = []
    for series in findings.ordered_series:
        for place, point in enumerate(findings.curve_points(series)):
            value = findings.estimate_accuracy(series, place)
            runs = {"seeds": int(point.has_run.sum()), "failed": len(point.failure_causes)}
            labels = {
                "curve": series.describe_series(findings.study),
                "amount": describe_label_amount(point.amount),
                "labels": point.labels,
            }
            found.append({**labels, **_interval_columns("accuracy", value), **runs})
    return found


def saving_rows(findings: LabelFindings) -> FindingsRows:
    """One row a curve and an amount of the reference's labels: what the curve needs for the same accuracy."""
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
    """One row a curve: the area under it."""
    return [
        {
            "curve": one.describe_series(findings.study),
            **_interval_columns("area", findings.estimate_area(one)),
            "dips": findings.count_dips(one),
        }
        for one in findings.ordered_series
    ]


def class_rows(findings: LabelFindings) -> FindingsRows:
    """One row a curve and unseen class: accuracy of the curve's first and last point."""
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


def study_rows_to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV with full precision; ∞ stands for "not within the labels studied"."""
    file = io.StringIO()
    if rows:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file.getvalue()


def study_rows_to_latex(rows: Sequence[Mapping[str, Any]], note: str) -> str:
    """A LaTeX tabular (booktabs) with three decimals."""
    head = list(rows[0]) if rows else []
    body = [" & ".join(_format_latex_cell(row[name]) for name in head) + r" \\" for row in rows]
    kinds = "".join("l" if isinstance(value, str) else "r" for value in (rows[0].values() if rows else ()))
    titles = " & ".join(_format_latex_cell(name.replace("_", " ")) for name in head) + r" \\"
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", titles, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", f"% {' '.join(note.split())}", ""])


def _interval_columns(name: str, value: Estimate) -> dict[str, float]:
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def _format_latex_cell(value: Any) -> str:
    if isinstance(value, float):
        if math.isinf(value):
            return r"$\infty$" if value > 0 else r"$-\infty$"
        return f"${value:,.0f}$" if abs(value) >= 10 or value == int(value) else f"${value:.3f}$"
    signs = {**LATEX_ESCAPES, "\\": r"\textbackslash{}", "·": r"$\cdot$", "→": r"$\to$"}
    return "".join(signs.get(sign, sign) for sign in str(value))
