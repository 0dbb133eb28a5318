"""The page of a semantics study, and its tables as CSV, LaTeX and JSON."""

from pathlib import Path
from typing import Any

from ssl_sbir.files import write_atomic
from ssl_sbir.reports.render import json_text, render_template
from ssl_sbir.reports.svg_charts import StripValue, strip_chart, top_of_scale
from ssl_sbir.reports.tables import csv_text
from ssl_sbir.run import RunFolder
from ssl_sbir.semantics import describe_resolutions, load_semantics
from ssl_sbir.studies.findings_tables import study_rows_to_latex
from ssl_sbir.studies.semantics_findings import (
    ArmContrast,
    SemanticsFindings,
    StudyArm,
    describe_reported_gap,
)
from ssl_sbir.studies.semantics_study import NO_SOURCE, SemanticsStudy
from ssl_sbir.studies.study_table import StudyTable


def write_semantics_report(study: SemanticsStudy, table: StudyTable, out: Path) -> dict[str, Any]:
    """Writes `index.html`, `study.json`, CSV and LaTeX of a study into its folder.

    Args:
        study: the study.
        table: as `run_study` returned it.
        out: folder of the study.

    Returns:
        JSON-able facts: verdict, sources, contrasts, how names were resolved, failed runs, the page's path.

    Raises:
        EvaluationError: no run has a result.
    """
    findings = SemanticsFindings(study, table)
    arms = [_arm_row(findings, arm) for arm in findings.study_arms]
    contrasts = [_contrast_row(one) for one in findings.corrected_contrasts]
    for name, rows in (("sources", arms), ("contrasts", contrasts)):
        write_atomic(out / f"{name}.csv", csv_text(rows))
        write_atomic(
            out / f"{name}.tex",
            study_rows_to_latex(rows, f"{study.metric_column}, {study.seeds} seeds, 95 % intervals"),
        )
    split = findings.evaluation.facts["split"]
    done = next(row for row in table.rows if not row.has_failed)
    facts = {
        "verdict": describe_reported_gap(findings),
        "sources": arms,
        "contrasts": contrasts,
        "names": _name_resolution_facts(study, RunFolder(done.run).provenance["split"]["seen"]),
        "failed": [row.to_columns() for row in table.rows if row.has_failed],
        "split": split,
        "counts": findings.evaluation.facts["counts"],
        "size": findings.evaluation.facts["size"],
        "settings": list(study.settings),
    }
    write_atomic(out / "study.json", json_text(facts, indent=1))
    most = top_of_scale([row["high"] for row in arms])
    strips = [strip_chart(StripValue(row["mean"], most, row["low"], row["high"])) for row in arms]
    page = render_template("semantics.html.j2", {**facts, "study": study, "strips": strips})
    write_atomic(out / "index.html", page)
    return {**facts, "page": str(out / "index.html")}


def _arm_row(findings: SemanticsFindings, arm: StudyArm) -> dict[str, Any]:
    mean, low, high = findings.mean_with_interval(arm)
    by_seed = arm.values[arm.has_run].mean(1).tolist()
    return {
        "source": arm.display_name,
        "mean": mean,
        "low": low,
        "high": high,
        "seeds": len(by_seed),
        "by_seed": " ".join(f"{value:.4f}" for value in by_seed),
    }


def _contrast_row(one: ArmContrast) -> dict[str, Any]:
    return {
        "source": one.arm.display_name,
        "less": one.baseline.display_name,
        "difference": one.mean_difference,
        "low": one.low,
        "high": one.high,
        "by_seed": " ".join(f"{value:+.4f}" for value in one.by_seed),
        "p": one.test.p,
        "p_holm": one.test.p_holm,
        "p_classes": one.test.p_classes,
    }


def _name_resolution_facts(study: SemanticsStudy, seen: list[str]) -> list[dict[str, Any]]:
    """For each source, the seen classes whose names it replaced or doesn't know."""
    facts = []
    for source in study.sources:
        if source != NO_SOURCE:
            resolved = load_semantics(source.replace("{seed}", "0")).resolve_names(seen)
            facts.append({"source": source, "notes": describe_resolutions(resolved, len(seen))})
    return facts
