"""Tables as CSV and LaTeX."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\~{}",
    "^": r"\^{}",
    "…": r"\dots{}",
    "−": "$-$",
    "·": r"$\cdot$",
    "→": r"$\to$",
}


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV of rows with the same keys, headed by the keys of the first; empty without rows."""
    file = io.StringIO()
    if rows:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return file.getvalue()


def latex_table(header: Sequence[str], rows: Sequence[Sequence[str]], alignment: str, note: str) -> str:
    """A LaTeX tabular (booktabs) with a note in a comment below it.

    Args:
        header: column titles, escaped here.
        rows: cells in LaTeX; escape plain text with `escape_latex`.
        alignment: one letter per column: `l`, `c` or `r`.
        note: plain text.
    """
    head = _latex_row([escape_latex(title) for title in header])
    begin = [rf"\begin{{tabular}}{{{alignment}}}", r"\toprule", head, r"\midrule"]
    end = [r"\bottomrule", r"\end{tabular}", f"% {' '.join(note.split())}", ""]
    return "\n".join([*begin, *map(_latex_row, rows), *end])


def escape_latex(text: str) -> str:
    """Plain text with LaTeX's special characters escaped."""
    return "".join(LATEX_ESCAPES.get(character, character) for character in text)


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
