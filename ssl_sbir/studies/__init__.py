"""Studies: grids of ordinary runs, and what they say when they are read together."""

from ssl_sbir.studies.grid import run_grid
from ssl_sbir.studies.label_study import LabelStudy
from ssl_sbir.studies.semantics_study import SemanticsStudy
from ssl_sbir.studies.study_cell import StudyCell
from ssl_sbir.studies.study_request import Study, run_study
from ssl_sbir.studies.study_table import StudyRow, StudyTable

__all__ = [
    "LabelStudy",
    "SemanticsStudy",
    "Study",
    "StudyCell",
    "StudyRow",
    "StudyTable",
    "run_grid",
    "run_study",
]
