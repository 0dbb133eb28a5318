"""An evaluation on disk: `results.json`, `ranking.safetensors` and a page to look through."""

from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ssl_sbir.evaluation.evaluate_run import SplitEvaluation
from ssl_sbir.evaluation.report.results_page_facts import write_evaluation_page
from ssl_sbir.files import atomic_folder
from ssl_sbir.reports.render import json_text

VALUE_COLUMN_PREFIX = (
    "value "  # before "<protocol> <metric>" in the names of columns that hold the value of each query
)


def save_evaluation(evaluation: SplitEvaluation, folder: Path, templates: Path | None = None) -> Path:
    """The page of an evaluation whose folder is now written, whole or not at all.

    Args:
        evaluation: what to write.
        folder: replaced as a whole.
        templates: the user's own folder of templates.
    """
    with atomic_folder(folder) as place:
        (place / "results.json").write_text(json_text(evaluation.facts, indent=1), encoding="utf-8")
        (place / "ranking.safetensors").write_bytes(
            save(ranking_columns(evaluation), {"ties": evaluation.ranking.ties})
        )
        write_evaluation_page(evaluation, place, templates)
    return folder / "index.html"


def ranking_columns(evaluation: SplitEvaluation) -> dict[str, Tensor]:
    """Results of each sketch, rows of the data, and the value of each sketch under each protocol and metric."""
    ranking, test = evaluation.ranking, evaluation.test_set
    assert ranking.relevant is not None
    found = {
        "ids": ranking.ids.int(),
        "scores": ranking.scores.float(),
        "relevant": ranking.relevant,
        "query_rows": torch.from_numpy(test.queries),
        "gallery_rows": torch.from_numpy(test.gallery),
        "query_labels": evaluation.features.query_labels,
    }
    for protocol, metrics in evaluation.result.values.items():
        found |= {f"{VALUE_COLUMN_PREFIX}{protocol} {metric}": value for metric, value in metrics.items()}
    return {name: column.cpu().clone().contiguous() for name, column in found.items()}
