"""A comparison as a table: text, Markdown, CSV, LaTeX or HTML."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.compare_runs import Difference
from ssl_sbir.reports.render import render_template
from ssl_sbir.reports.tables import csv_text, escape_latex, latex_table

COMPARISON_HEADER = (
    *("metric", "first", "second", "mean", "mean", "difference"),
    *("95 % interval", "p", "p (Holm)", "p (classes)", "d", "better"),
)
COMPARISON_NOTE = (
    "Paired over sketches: difference = second − first with its bootstrap interval; p of a sign-flip permutation test, "
    "corrected by Holm for all lines; p (classes) of the same test over classes; d = mean / standard deviation of the "
    "paired differences; better = share of sketches that gain."
)


def comparison_rows(differences: Sequence[Difference]) -> list[list[str]]:
    """The cells of a comparison, one row per difference, in the order of `COMPARISON_HEADER`."""
    return [
        [
            one.metric,
            one.first,
            one.second,
            f"{one.means[0]:.4f}",
            f"{one.means[1]:.4f}",
            f"{one.difference:+.4f}",
            f"{one.low:+.4f} … {one.high:+.4f}",
            _format_p_value(one.p),
            _format_p_value(one.p_holm),
            _format_p_value(one.p_classes),
            "–" if one.effect is None else f"{one.effect:+.2f}",
            f"{one.better:.0%}",
        ]
        for one in differences
    ]


def comparison_to_text(differences: Sequence[Difference]) -> str:
    """Aligned columns for a terminal."""
    table = [list(COMPARISON_HEADER), *comparison_rows(differences)]
    widths = [max(len(line[column]) for line in table) for column in range(len(COMPARISON_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in table
    )


def comparison_to_markdown(differences: Sequence[Difference]) -> str:
    """A Markdown table."""
    lines = [list(COMPARISON_HEADER), ["---"] * len(COMPARISON_HEADER), *comparison_rows(differences)]
    table = ("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
    return "\n".join(table) + f"\n\n{COMPARISON_NOTE}\n"


def comparison_to_csv(differences: Sequence[Difference]) -> str:
    """CSV with full precision, one column per field."""
    rows = [{**vars(one), "mean_first": one.means[0], "mean_second": one.means[1]} for one in differences]
    return csv_text([{name: value for name, value in row.items() if name != "means"} for row in rows])


def comparison_to_latex(differences: Sequence[Difference]) -> str:
    """A LaTeX tabular (booktabs)."""
    alignment = "l" * 3 + "r" * (len(COMPARISON_HEADER) - 3)
    rows = [[escape_latex(cell) for cell in row] for row in comparison_rows(differences)]
    return latex_table(COMPARISON_HEADER, rows, alignment, COMPARISON_NOTE)


def comparison_to_html(differences: Sequence[Difference]) -> str:
    """An HTML page."""
    return render_template(
        "comparison.html.j2",
        {"head": COMPARISON_HEADER, "rows": comparison_rows(differences), "note": COMPARISON_NOTE},
    )


COMPARISON_FORMATS: dict[str, Callable[[Sequence[Difference]], str]] = {
    ".html": comparison_to_html,
    ".md": comparison_to_markdown,
    ".tex": comparison_to_latex,
    ".csv": comparison_to_csv,
}


def format_comparison(differences: Sequence[Difference], path: Path) -> str:
    """The comparison in the format of a file name's extension.

    Raises:
        EvaluationError: the extension is none of .html, .md, .tex and .csv.
    """
    if path.suffix not in COMPARISON_FORMATS:
        raise EvaluationError(
            f"{path}: unknown format '{path.suffix}'", f"Known extensions: {', '.join(COMPARISON_FORMATS)}."
        )
    return COMPARISON_FORMATS[path.suffix](differences)


def _format_p_value(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")
