"""The page of a study of semantics, with everything it says as CSV, LaTeX and JSON beside it."""

from pathlib import Path
from typing import Any

from ssl_sbir.files import write_atomic
from ssl_sbir.reports.charts import Strip, strip, top_of_scale
from ssl_sbir.reports.render import json_text, render
from ssl_sbir.run import RunFolder
from ssl_sbir.semantics import load_semantics, told
from ssl_sbir.studies.semantics import NONE, SemanticsStudy
from ssl_sbir.studies.semantics_findings import Arm, Contrast, SemanticsFindings, verdict
from ssl_sbir.studies.table import Table
from ssl_sbir.studies.tables import comma_separated, latex


def semantics_report(asked: SemanticsStudy, table: Table, out: Path) -> dict[str, Any]:
    """Writes `index.html`, `study.json`, CSV and LaTeX of a study into its folder.

    Args:
        asked: what was to be found out.
        table: what `run_study` returned.
        out: folder of the study.

    Returns:
        JSON-able facts: verdict, sources, contrasts, how names were resolved, failed runs, the page's path.

    Raises:
        EvaluationError: no run has a result.
    """
    findings = SemanticsFindings(asked, table)
    arms = [_arm(findings, arm) for arm in findings.arms]
    contrasts = [_contrast(one) for one in findings.contrasts]
    for name, rows in (("sources", arms), ("contrasts", contrasts)):
        write_atomic(out / f"{name}.csv", comma_separated(rows))
        write_atomic(out / f"{name}.tex", latex(rows, f"{asked.column}, {asked.seeds} seeds, 95 % intervals"))
    split = findings.scored.facts["split"]
    done = next(row for row in table.rows if not row.failed)
    facts = {
        "verdict": verdict(findings),
        "sources": arms,
        "contrasts": contrasts,
        "names": _names(asked, RunFolder(done.run).provenance["split"]["seen"]),
        "failed": [row.columns() for row in table.rows if row.failed],
        "split": split,
        "counts": findings.scored.facts["counts"],
        "size": findings.scored.facts["size"],
        "settings": list(asked.settings),
    }
    write_atomic(out / "study.json", json_text(facts, indent=1))
    most = top_of_scale([row["high"] for row in arms])
    strips = [strip(Strip(row["mean"], most, row["low"], row["high"])) for row in arms]
    shown = {**facts, "asked": asked, "strips": strips}
    write_atomic(out / "index.html", render("semantics.html.j2", shown))
    return {**facts, "page": str(out / "index.html")}


def _arm(findings: SemanticsFindings, arm: Arm) -> dict[str, Any]:
    mean, low, high = findings.spread(arm)
    by_seed = arm.values[arm.there].mean(1).tolist()
    return {
        "source": arm.name,
        "mean": mean,
        "low": low,
        "high": high,
        "seeds": len(by_seed),
        "by_seed": " ".join(f"{value:.4f}" for value in by_seed),
    }


def _contrast(one: Contrast) -> dict[str, Any]:
    return {
        "source": one.arm.name,
        "less": one.less.name,
        "difference": one.difference,
        "low": one.low,
        "high": one.high,
        "by_seed": " ".join(f"{value:+.4f}" for value in one.by_seed),
        "p": one.test.p,
        "p_holm": one.test.p_holm,
        "p_classes": one.test.p_classes,
    }


def _names(asked: SemanticsStudy, seen: list[str]) -> list[dict[str, Any]]:
    """For each source the seen classes that it took for something else, or doesn't know."""
    found = []
    for source in asked.sources:
        if source != NONE:
            resolved = load_semantics(source.replace("{seed}", "0")).resolved(seen)
            found.append({"source": source, "told": told(resolved, len(seen))})
    return found
