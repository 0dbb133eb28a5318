"""Studies: grids of ordinary runs, and what they say when they are read together."""

from ssl_sbir.studies.cell import Cell
from ssl_sbir.studies.grid import run_grid
from ssl_sbir.studies.labels import LabelStudy
from ssl_sbir.studies.semantics import SemanticsStudy
from ssl_sbir.studies.study import Study, run_study
from ssl_sbir.studies.table import Row, Table

__all__ = ["Cell", "LabelStudy", "Row", "SemanticsStudy", "Study", "Table", "run_grid", "run_study"]
