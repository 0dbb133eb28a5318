"""Studies: grids of ordinary runs and their joint analysis."""

from typing import TYPE_CHECKING

from ssl_sbir.lazy import lazy_exports

if TYPE_CHECKING:
    from ssl_sbir.studies.grid import run_grid as run_grid
    from ssl_sbir.studies.label_study import LabelStudy as LabelStudy
    from ssl_sbir.studies.semantics_study import SemanticsStudy as SemanticsStudy
    from ssl_sbir.studies.study_cell import StudyCell as StudyCell
    from ssl_sbir.studies.study_request import Study as Study
    from ssl_sbir.studies.study_request import run_study as run_study
    from ssl_sbir.studies.study_table import StudyRow as StudyRow
    from ssl_sbir.studies.study_table import StudyTable as StudyTable

__getattr__, __dir__ = lazy_exports(
    __name__,
    {
        "grid": ("run_grid",),
        "label_study": ("LabelStudy",),
        "semantics_study": ("SemanticsStudy",),
        "study_cell": ("StudyCell",),
        "study_request": (
            "Study",
            "run_study",
        ),
        "study_table": (
            "StudyRow",
            "StudyTable",
        ),
    },
)
