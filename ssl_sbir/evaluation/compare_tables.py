"""A comparison as a table: text, Markdown, CSV, LaTeX or a page."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from ssl_sbir.errors import EvaluationError
from ssl_sbir.evaluation.compare import Difference
from ssl_sbir.reports.render import render

HEAD = (
    *("metric", "first", "second", "mean", "mean", "difference"),
    *("95 % interval", "p", "p (Holm)", "p (classes)", "d", "better"),
)
LATEX = {
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
NOTE = (
    "Paired over sketches: difference = second − first with its bootstrap interval; p of a sign-flip permutation test, "
    "corrected by Holm for all lines; p (classes) of the same test over classes; d = mean / standard deviation of the "
    "paired differences; better = share of sketches that gain."
)


def rows(differences: Sequence[Difference]) -> list[list[str]]:
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
            _p(one.p),
            _p(one.p_holm),
            _p(one.p_classes),
            "–" if one.effect is None else f"{one.effect:+.2f}",
            f"{one.better:.0%}",
        ]
        for one in differences
    ]


def text(differences: Sequence[Difference]) -> str:
    """Aligned columns for a terminal."""
    table = [list(HEAD), *rows(differences)]
    widths = [max(len(line[column]) for line in table) for column in range(len(HEAD))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in table
    )


def markdown(differences: Sequence[Difference]) -> str:
    """A Markdown table."""
    lines = [list(HEAD), ["---"] * len(HEAD), *rows(differences)]
    table = ("| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines)
    return "\n".join(table) + f"\n\n{NOTE}\n"


def comma_separated(differences: Sequence[Difference]) -> str:
    """CSV with full precision and one column a fact."""
    file = io.StringIO()
    facts = [{**vars(one), "mean_first": one.means[0], "mean_second": one.means[1]} for one in differences]
    columns = [name for name in facts[0] if name != "means"]
    writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(facts)
    return file.getvalue()


def latex(differences: Sequence[Difference]) -> str:
    """A LaTeX tabular (booktabs)."""
    body = [" & ".join(_tex(cell) for cell in line) + r" \\" for line in rows(differences)]
    head = " & ".join(_tex(cell) for cell in HEAD) + r" \\"
    begin = rf"\begin{{tabular}}{{{'l' * 3}{'r' * (len(HEAD) - 3)}}}"
    end = [r"\bottomrule", r"\end{tabular}", f"% {NOTE}", ""]
    return "\n".join([begin, r"\toprule", head, r"\midrule", *body, *end])


def html(differences: Sequence[Difference]) -> str:
    """A page of its own."""
    return render("comparison.html.j2", {"head": HEAD, "rows": rows(differences), "note": NOTE})


FORMATS: dict[str, Callable[[Sequence[Difference]], str]] = {
    ".html": html,
    ".md": markdown,
    ".tex": latex,
    ".csv": comma_separated,
}


def formatted(differences: Sequence[Difference], path: Path) -> str:
    """The comparison in the format that a file name ends with.

    Raises:
        EvaluationError: the ending is none of .html, .md, .tex and .csv.
    """
    if path.suffix not in FORMATS:
        raise EvaluationError(f"{path}: unknown format '{path.suffix}'", f"End it with {', '.join(FORMATS)}.")
    return FORMATS[path.suffix](differences)


def _p(value: float) -> str:
    return "< .001" if value < 0.001 else f"{value:.3f}".removeprefix("0")


def _tex(cell: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in cell).replace("…", r"\dots{}").replace("−", "$-$")
