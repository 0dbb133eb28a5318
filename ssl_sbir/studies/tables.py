"""A study's findings as rows, for CSV, LaTeX and the page."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ssl_sbir.evaluation.compare_tables import LATEX
from ssl_sbir.studies.findings import Estimate, Findings, told

Rows = list[dict[str, Any]]


def point_rows(findings: Findings) -> Rows:
    """One row a point of a curve: labels, accuracy with its interval, seeds with a result and without."""
    found: Rows = []
    for series in findings.series:
        for place, point in enumerate(findings.points(series)):
            value = findings.estimate(series, place)
            runs = {"seeds": int(point.there.sum()), "failed": len(point.failed)}
            labels = {
                "curve": series.name(findings.asked),
                "amount": told(point.amount),
                "labels": point.labels,
            }
            found.append({**labels, **_spread("accuracy", value), **runs})
    return found


def saving_rows(findings: Findings) -> Rows:
    """One row a curve and an amount of the reference's labels: what the curve needs for the same accuracy."""
    return [
        {
            "curve": one.series.name(findings.asked),
            "reference": f"{findings.reference.name(findings.asked)} · {told(one.amount)}",
            "reference_labels": one.labels,
            "accuracy": one.target,
            **_spread("needed", one.needed),
            **_spread("saved", one.saved),
            "share_of_draws_that_reach_it": one.reached,
        }
        for one in findings.savings
    ]


def area_rows(findings: Findings) -> Rows:
    """One row a curve: the area under it."""
    return [
        {"curve": one.name(findings.asked), **_spread("area", findings.area(one)), "dips": findings.dips(one)}
        for one in findings.series
    ]


def class_rows(findings: Findings) -> Rows:
    """One row a curve and unseen class: accuracy of the curve's first and last point."""
    return [
        {
            "curve": series.name(findings.asked),
            "class": gain.name,
            "first": gain.first,
            "last": gain.last,
            "gain": gain.gain,
        }
        for series in findings.series
        for gain in findings.classes(series)
    ]


def comma_separated(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV with full precision; ∞ stands for "not within the labels studied"."""
    file = io.StringIO()
    if rows:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file.getvalue()


def latex(rows: Sequence[Mapping[str, Any]], note: str) -> str:
    """A LaTeX tabular (booktabs) with three decimals."""
    head = list(rows[0]) if rows else []
    body = [" & ".join(_tex(row[name]) for name in head) + r" \\" for row in rows]
    kinds = "".join("l" if isinstance(value, str) else "r" for value in (rows[0].values() if rows else ()))
    titles = " & ".join(_tex(name.replace("_", " ")) for name in head) + r" \\"
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", titles, r"\midrule", *body]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", f"% {' '.join(note.split())}", ""])


def _spread(name: str, value: Estimate) -> dict[str, float]:
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def _tex(value: Any) -> str:
    if isinstance(value, float):
        if math.isinf(value):
            return r"$\infty$" if value > 0 else r"$-\infty$"
        return f"${value:,.0f}$" if abs(value) >= 10 or value == int(value) else f"${value:.3f}$"
    signs = {**LATEX, "\\": r"\textbackslash{}", "·": r"$\cdot$", "→": r"$\to$"}
    return "".join(signs.get(sign, sign) for sign in str(value))
