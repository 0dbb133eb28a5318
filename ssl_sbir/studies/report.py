"""The page of a label study, with everything it says as CSV and LaTeX beside it."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ssl_sbir.evaluation import compare_tables
from ssl_sbir.files import write_atomic
from ssl_sbir.reports.charts import Strip, strip, top_of_scale
from ssl_sbir.reports.curves import Curve, Dot, label_chart, mark
from ssl_sbir.reports.render import json_text, render
from ssl_sbir.run import RunFolder
from ssl_sbir.studies.findings import Estimate, Findings, Saving, told
from ssl_sbir.studies.labels import LabelStudy
from ssl_sbir.studies.points import Series, measured
from ssl_sbir.studies.table import Row, Table
from ssl_sbir.studies.tables import area_rows, class_rows, comma_separated, latex, point_rows, saving_rows

PRICE = 0.10


def label_report(asked: LabelStudy, table: Table, out: Path, price: float = PRICE) -> dict[str, Any]:
    """Writes `index.html`, CSV and LaTeX of a study into its folder.

    Args:
        asked: what was to be found out.
        table: what `run_study` returned.
        out: folder of the study.
        price: of a label, in any currency, for the cost calculator's start.

    Returns:
        JSON-able facts: the answer in words, the findings, and the path of the page.

    Raises:
        EvaluationError: no run has a result.
    """
    findings = Findings(asked, measured(asked, table))
    tables = {"points": point_rows, "savings": saving_rows, "areas": area_rows, "classes": class_rows}
    rows = {name: of(findings) for name, of in tables.items()}
    for name, found in rows.items():
        write_atomic(out / f"{name}.csv", comma_separated(found))
        write_atomic(
            out / f"{name}.tex", latex(found, f"{asked.column}, {asked.seeds} seeds, 95 % intervals")
        )
    for ending in (".csv", ".tex"):
        tests = compare_tables.FORMATS[ending](findings.tests) if findings.tests else ""
        write_atomic(out / f"tests{ending}", tests)
    answers = [answer(findings, series) for series in findings.series[1:]]
    failed = [row.columns() for row in table.rows if row.failed]
    facts = {"answers": answers, **rows, "failed": failed}
    write_atomic(out / "study.json", json_text(facts, indent=1))
    write_atomic(out / "index.html", render("labels.html.j2", page_facts(findings, facts, table, price)))
    return {**facts, "page": str(out / "index.html")}


def answer(findings: Findings, series: Series) -> str:
    """One sentence: the labels that a curve needs for what the reference reaches with all of its own."""
    asked, saving = findings.asked, findings.final(series)
    name, other = series.name(asked), findings.reference.name(asked)
    if saving is None:
        return f"{other} has no result with labels, so nothing can be said of what {name} saves."
    aim = f"what {other} reaches with {told(saving.amount)} ({saving.target:.3f})"
    if math.isinf(saving.needed.value):
        return f"Within the labels studied, {name} does not reach {aim}: {_draws(saving)}."
    share = f"{_count(saving.needed.value)} of {_count(saving.labels)} labels ({saving.needed.value / saving.labels:.0%})"
    low, high = (_count(value) for value in (saving.needed.low, saving.needed.high))
    return f"With {share}, {name} reaches {aim}; 95 % interval {low} to {high}, {_draws(saving)}."


def page_facts(findings: Findings, facts: dict[str, Any], table: Table, price: float) -> dict[str, Any]:
    """What the template needs."""
    asked, about = findings.asked, findings.found.scored.facts
    return {
        **facts,
        "asked": asked,
        "reference": findings.reference.name(asked),
        "chart": _chart(findings),
        "legend": [(mark(n), series.name(asked)) for n, series in enumerate(findings.series)],
        "split": about["split"],
        "counts": about["counts"],
        "size": " or ".join(map(str, sorted(set().union(*findings.found.sizes.values())))),
        "tests": compare_tables.rows(findings.tests) if findings.tests else [],
        "test_head": compare_tables.HEAD,
        "test_note": compare_tables.NOTE,
        "costs": [_cost(findings, series) for series in findings.series[1:]],
        "price": price,
        "gains": [_gains(findings, series) for series in findings.series],
        "runs": len(table.rows),
        "scratch": "scratch" in asked.starts,
        "notes": [*_without_curve(findings), *_unlike(findings), *_notes(asked, table)],
    }


def _without_curve(findings: Findings) -> Iterator[str]:
    for series in findings.found.curves:
        if series not in findings.series:
            yield f"{series.name(findings.asked)} has no curve: none of its runs had a result. The causes stand below."


def _unlike(findings: Findings) -> Iterator[str]:
    sizes = findings.found.sizes
    if len(set().union(*sizes.values())) > 1:
        told = "; ".join(f"{start} {', '.join(map(str, sorted(of)))} px" for start, of in sizes.items())
        yield (
            f"The starts see images of different sizes ({told}): what one gains over another may be the size's. "
            "Compare them at one size: --set encoder.size=PIXELS."
        )


def _notes(asked: LabelStudy, table: Table) -> Iterator[str]:
    """What a reader must know before trusting an interval."""
    if asked.seeds < 5:
        yield (
            f"Few seeds: resampling {asked.seeds} of them says little about others; read the intervals as lower bounds "
            "of the uncertainty."
        )
    seen = dict[str, Row]()
    for row in table.rows:
        if row.failed or not row.cell.trained or row.cell.labels.amount == "all":
            continue
        read = RunFolder(row.run).provenance["labels"]["sha256"]
        first = seen.setdefault(f"{row.cell.start} {row.cell.choice} {read}", row)
        if first.cell.seed != row.cell.seed:
            yield (
                f"More seeds than data: {told(row.cell.labels.amount)}, seeds {first.cell.seed} and {row.cell.seed} of "
                f"{row.cell.start} read the same labels."
            )


def _chart(findings: Findings) -> Any:
    asked = findings.asked
    curves, ticks = [], dict[float, str]()
    for series in findings.series:
        dots = []
        for place, point in enumerate(findings.points(series)):
            assert point.labels is not None
            value = findings.estimate(series, place)
            ticks[point.labels] = f"{point.labels:,.0f}"
            text = f"{series.name(asked)}, {told(point.amount)} ({point.labels:,.0f}): {_spelt(value)}"
            dots.append(Dot(point.labels, value.value, value.low, value.high, text, not point.failed))
        missing = [
            p.labels for p in findings.found.curves[series] if p.labels is not None and not p.there.any()
        ]
        curves.append(Curve(series.name(asked), dots, missing))
    aloud = f"{asked.column} over the number of labels. " + " ".join(
        f"{one.name}: " + ", ".join(f"{dot.value:.3f} with {dot.labels:,.0f}" for dot in one.dots) + "."
        for one in curves
    )
    return label_chart(curves, findings.first, sorted(ticks.items()), aloud)


def _cost(findings: Findings, series: Series) -> dict[str, Any]:
    saving = findings.final(series)
    known = saving is not None and math.isfinite(saving.saved.value)
    return {
        "name": series.name(findings.asked),
        "saved": [saving.saved.low, saving.saved.value, saving.saved.high] if saving and known else None,
        "labels": saving.labels if saving else None,
    }


def _gains(findings: Findings, series: Series) -> dict[str, Any]:
    gains, points = findings.classes(series), findings.points(series)
    most = top_of_scale([max(one.first, one.last) for one in gains])
    rows = [
        {**vars(one), "gain": one.gain, "strip": strip(Strip(one.last, most, before=one.first))}
        for one in gains
    ]
    first, last = told(points[0].amount), told(points[-1].amount)
    return {"name": series.name(findings.asked), "rows": rows, "first": first, "last": last}


def _draws(saving: Saving) -> str:
    return f"reached in {saving.reached:.0%} of the bootstrap's draws"


def _count(labels: float) -> str:
    return "more than were studied" if math.isinf(labels) else f"{labels:,.0f}"


def _spelt(value: Estimate) -> str:
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"
