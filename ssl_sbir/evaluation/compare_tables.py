"""A comparison as a table: text, Markdown, CSV, LaTeX or a page."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.compare_runs import Difference
from ssl_sbir.reports.render import render_template

COMPARISON_HEADER = (
    *("metric", "first", "second", "mean", "mean", "difference"),
    *("95 % interval", "p", "p (Holm)", "p (classes)", "d", "better"),
)
LATEX_ESCAPES = {
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\~{}",
    "^": r"\^{}",
}
COMPARISON_NOTE = (
    "Paired over sketches: difference = second − first with its bootstrap interval; p of a sign-flip permutation test, "
    "corrected by Holm for all lines; p (classes) of the same test over classes; d = mean / standard deviation of the "
    "paired differences; better = share of sketches that gain."
)


def comparison_rows(differences: Sequence[Difference]) -> list[list[str]]:
    """The cells of a comparison, a line a difference, in the order of `HEAD`."""
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
    """CSV with full precision and one column a fact."""
    file = io.StringIO()
    facts = [{**vars(one), "mean_first": one.means[0], "mean_second": one.means[1]} for one in differences]
    columns = [name for name in facts[0] if name != "means"]
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(facts)
    return file.getvalue()


def comparison_to_latex(differences: Sequence[Difference]) -> str:
    """A LaTeX tabular (booktabs)."""
    body = [
        " & ".join(_escape_comparison_cell(cell) for cell in line) + r" \\"
        for line in comparison_rows(differences)
    ]
    head = " & ".join(_escape_comparison_cell(cell) for cell in COMPARISON_HEADER) + r" \\"
    begin = rf"\begin{{tabular}}{{{'l' * 3}{'r' * (len(COMPARISON_HEADER) - 3)}}}"
    end = [r"\bottomrule", r"\end{tabular}", f"% {COMPARISON_NOTE}", ""]
    return "\n".join([begin, r"\toprule", head, r"\midrule", *body, *end])


def comparison_to_html(differences: Sequence[Difference]) -> str:
    """A page of its own."""
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
    """The comparison in the format that a file name ends with.

    Raises:
        EvaluationError: the ending is none of .html, .md, .tex and .csv.
    """
    if path.suffix not in COMPARISON_FORMATS:
        raise EvaluationError(
            f"{path}: unknown format '{path.suffix}'", f"End it with {', '.join(COMPARISON_FORMATS)}."
        )
    return COMPARISON_FORMATS[path.suffix](differences)


def _format_p_value(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _escape_comparison_cell(cell: str) -> str:
    return (
        "".join(LATEX_ESCAPES.get(sign, sign) for sign in cell).replace("…", r"\dots{}").replace("−", "$-$")
    )
