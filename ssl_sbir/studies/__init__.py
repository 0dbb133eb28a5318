"""Studies: grids of ordinary runs, and what they say when they are read together."""

from ssl_sbir.studies.cell import Cell
from ssl_sbir.studies.grid import run_grid
from ssl_sbir.studies.labels import LabelStudy, study_labels
from ssl_sbir.studies.table import Row, Table

__all__ = ["Cell", "LabelStudy", "Row", "Table", "run_grid", "study_labels"]
