"""An evaluation on disk: `results.json`, `ranking.safetensors` and the results page."""

from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from ssl_sbir.evaluation.metrics.split_evaluation import SplitEvaluation
from ssl_sbir.evaluation.report.results_page_facts import write_evaluation_page
from ssl_sbir.files import atomic_folder
from ssl_sbir.reports.render import json_text

VALUE_COLUMN_PREFIX = "value "  # of the columns "value <protocol> <metric>" with the value of each query


def save_evaluation(evaluation: SplitEvaluation, folder: Path, templates: Path | None = None) -> Path:
    """Writes an evaluation into a folder, whole or not at all, and returns the path of its page.

    Args:
        evaluation: the evaluation.
        folder: replaced as a whole.
        templates: the user's own folder of templates.
    """
    with atomic_folder(folder) as new:
        (new / "results.json").write_text(json_text(evaluation.facts, indent=1), encoding="utf-8")
        columns = save(ranking_columns(evaluation), {"ties": evaluation.ranking.ties})
        (new / "ranking.safetensors").write_bytes(columns)
        write_evaluation_page(evaluation, new, templates)
    return folder / "index.html"


def ranking_columns(evaluation: SplitEvaluation) -> dict[str, Tensor]:
    """The results of each sketch, the rows of the data, and each sketch's value under each protocol and metric."""
    ranking, test = evaluation.ranking, evaluation.test_set
    assert ranking.relevant is not None
    columns = {
        "ids": ranking.ids.int(),
        "scores": ranking.scores.float(),
        "relevant": ranking.relevant,
        "query_rows": torch.from_numpy(test.queries),
        "gallery_rows": torch.from_numpy(test.gallery),
        "query_labels": evaluation.features.query_labels,
    }
    for protocol, metrics in evaluation.result.values.items():
        columns |= {f"{VALUE_COLUMN_PREFIX}{protocol} {metric}": value for metric, value in metrics.items()}
    return {name: column.cpu().clone().contiguous() for name, column in columns.items()}
