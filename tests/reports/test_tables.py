import csv

from ssl_sbir.reports.tables import csv_text, escape_latex, latex_table


def test_csv_reads_back():
    rows = [{"name": 'a, "b"', "value": 0.125}, {"name": "ü", "value": None}]
    text = csv_text(rows)
    assert text.startswith("name,value\n")
    assert list(csv.DictReader(text.splitlines())) == [
        {"name": 'a, "b"', "value": "0.125"},
        {"name": "ü", "value": ""},
    ]
    assert csv_text([]) == ""


def test_latex_escapes_every_special_character():
    assert escape_latex(r"a\b & 5 % $1 #2 x_y {z} ~ ^") == (
        r"a\textbackslash{}b \& 5 \% \$1 \#2 x\_y \{z\} \~{} \^{}"
    )
    assert escape_latex("1 … 2 − 3 · 4 → 5") == r"1 \dots{} 2 $-$ 3 $\cdot$ 4 $\to$ 5"


def test_a_latex_table_has_a_row_per_line_and_its_note_in_a_comment():
    assert latex_table(["a_b", "n"], [["x", "$1$"], ["y", "$2$"]], "lr", "two\nlines").splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"a\_b & n \\",
        r"\midrule",
        r"x & $1$ \\",
        r"y & $2$ \\",
        r"\bottomrule",
        r"\end{tabular}",
        "% two lines",
    ]
