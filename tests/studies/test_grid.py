"""Grids of runs: killed and resumed, failed and recorded, skipped when finished."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from inline_worker import InlineWorker
from typer.testing import CliRunner

from ssl_sbir.cli import app
from ssl_sbir.data.label_budget import LabelBudget
from ssl_sbir.errors import ConfigError, DataError, RunError
from ssl_sbir.run import RunFolder
from ssl_sbir.studies import run_grid
from ssl_sbir.studies.worker_pool import Worker, threads_per_worker

BROKEN = """
from ssl_sbir.training.recipe import register_recipe
from ssl_sbir.recipes.finetuning.sake import Sake

@register_recipe("broken")
class Broken(Sake):
    def loss(self, model, batch):
        {what}
        return {{name: term * float("nan") for name, term in super().loss(model, batch).items()}}
"""
UNEQUAL = ("run", "seconds")  # columns that differ between two folders that hold the same


def records(table):
    return [{k: v for k, v in row.items() if k not in UNEQUAL} for row in table.to_records()]


@pytest.fixture(scope="module")
def cells(cell):
    few, none = LabelBudget("25%"), LabelBudget("1%")
    return [cell(trained=False), cell(labels=few), cell(labels=none), cell()]


@pytest.fixture(scope="module")
def unbroken(cells, tmp_path_factory, inline_workers):
    out = tmp_path_factory.mktemp("unbroken")
    return out, run_grid(cells, out)


def test_the_table_is_tidy(unbroken, cells):
    out, table = unbroken
    start, few, none, whole = table.rows
    assert [row.has_failed for row in table.rows] == [False, False, True, False]
    assert "leaves class 'bar' without a labelled sketch" in none.cause
    assert few.labels == {"sketch": 9, "photo": 9, "classes": 3}
    assert start.labels == {"sketch": 0, "photo": 0, "classes": 0}
    assert all(0 < row.metrics["standard mAP@all"] <= 1 for row in (start, few, whole))
    read = list(csv.DictReader(io.StringIO((out / "table.csv").read_text())))
    assert [row["labels"] for row in read] == ["0", "25%", "1%", "all"]
    assert read[2]["standard mAP@all"] == ""
    assert float(read[3]["standard mAP@all"]) == whole.metrics["standard mAP@all"]


def test_killed_twice_and_resumed_the_table_is_the_same(unbroken, cells, tmp_path):
    command = [sys.executable, str(Path(__file__).with_name("killable_study.py"))]
    out = tmp_path / "study"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as studies:
        request = {"out": str(out), "cells": [cell.facts() for cell in cells]}
        studies.stdin.write(json.dumps(request) + "\n")
        for labels in ("25pc", "all"):
            kill_study_when(
                lambda labels=labels: list(out.glob(f"runs/*-{labels}-*/checkpoints/step-*")), studies
            )
            assert not list(out.glob(f"runs/*-{labels}-*/model")), "killed too late to show anything"
    assert len(list(out.glob("cells/*.json"))) == 3
    assert records(run_grid(cells, out)) == records(unbroken[1])


def kill_study_when(condition, studies):
    """Starts the study and kills it as soon as the condition holds."""
    studies.stdin.write("start\n")
    studies.stdin.flush()
    process, deadline = int(studies.stdout.readline()), time.monotonic() + 120
    try:
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        os.kill(process, signal.SIGKILL)
    assert int(studies.stdout.readline()) == -signal.SIGKILL


def test_finished_cells_are_skipped_and_another_study_is_kept_out(unbroken, cells, monkeypatch):
    out, table = unbroken
    monkeypatch.setattr("ssl_sbir.studies.grid.Worker", None)  # whoever starts one fails
    assert run_grid(cells, out).to_records() == table.to_records()
    with pytest.raises(TypeError):
        run_grid([*cells, cells[1].__class__(**{**vars(cells[1]), "seed": 1})], out)


def test_a_cell_names_the_command_that_makes_its_run(unbroken, cells, tmp_path):
    row = unbroken[1].rows[1]
    done = CliRunner().invoke(app, cells[1].command_arguments(tmp_path / "by-hand"))
    assert done.exit_code == 0, done.output
    weights = [(run / "model/model.safetensors").read_bytes() for run in (row.run, tmp_path / "by-hand")]
    assert weights[0] == weights[1]


@pytest.mark.usefixtures("inline_workers")
def test_an_archive_trains_on_its_own_images_and_is_called_transductive(cell, tmp_path):
    settings = (*cell().settings, "optim.max_steps=2")
    (row,) = run_grid([cell(recipe="crossmodal", transductive=True, settings=settings)], tmp_path).rows
    assert not row.has_failed, row.cause
    assert RunFolder(row.run).provenance["split"] is None
    (results,) = row.run.glob("evaluate/*/results.json")
    verdict = json.loads(results.read_text("utf-8"))["verdict"]
    assert "TRANSDUCTIVE: training saw unlabelled images of 3 unseen classes" in verdict


@pytest.mark.usefixtures("inline_workers")
def test_failures_are_recorded_with_their_cause_and_the_rest_goes_on(cell, tmp_path):
    def broken(name, what):
        path = tmp_path / f"{name}.py"
        path.write_text(BROKEN.format(what=what))
        return cell(recipe=str(path))

    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "provenance.json").write_text('{"start": null}')
    asked = {
        "is nan at step 5": broken("nan", "pass"),
        "ran out of memory": broken("memory", "bytearray(1 << 62)"),
        "the run is unfinished": cell(start=f"run:{tmp_path / 'unfinished'}"),
        "no run folder": cell(start=f"run:{tmp_path / 'absent'}"),
    }
    good = cell(settings=(*cell().settings, "optim.max_steps=1"))
    *failed, last = run_grid([*asked.values(), good], tmp_path / "study").rows
    for cause, row in zip(asked, failed, strict=True):
        assert cause in row.cause
        assert not row.metrics
    assert not last.has_failed
    assert last.metrics


def kill_when_started(worker):
    while worker._process is None:
        time.sleep(0.01)
    worker._process.kill()


def test_a_worker_that_is_killed_is_replaced_and_ends_with_its_study(cell, tmp_path):
    worker, log = Worker(1), tmp_path / "logs" / "cell.log"
    good = cell(settings=(*cell().settings, "optim.max_steps=1"))
    threading.Thread(target=kill_when_started, args=(worker,)).start()
    cause = worker.run_cell(good, tmp_path / "runs" / "killed", log)
    assert cause == "killed by SIGKILL: most likely the machine ran out of memory"
    assert worker.run_cell(good, tmp_path / "runs" / "good", log) == ""
    assert RunFolder(tmp_path / "runs" / "good").is_finished
    assert log.stat().st_size > 0
    process = worker._process
    process.stdin.close()  # as when the study dies
    assert process.wait(60) == 0
    process.stdout.close()


def test_cells_run_side_by_side_in_as_many_workers_as_jobs(cells, tmp_path, monkeypatch):
    meeting = threading.Barrier(2, timeout=30)

    class MeetingWorker(InlineWorker):
        def run_cell(self, cell, folder, log):
            meeting.wait()
            return f"{self._threads} threads"

    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr("ssl_sbir.studies.grid.Worker", MeetingWorker)
    assert [row.cause for row in run_grid(cells, tmp_path, jobs=2).rows] == ["2 threads"] * 4


def test_the_hash_follows_everything_that_decides_the_result(cell, tmp_path):
    whole = cell()
    others = [cell(seed=1), cell(labels=LabelBudget("25%")), cell(settings=(*whole.settings, "optim.lr=1")),
              cell(trained=False), cell(start="imagenet"), cell(protocols=("sake",)), cell(split=None),
              cell(centre="train"), cell(recipe="crossmodal"), cell(recipe="crossmodal", transductive=True)]  # fmt: skip
    assert len({one.sha256() for one in (whole, *others)}) == len(others) + 1
    assert cell(axes={"graph": "wordnet"}).sha256() == whole.sha256()
    graph = tmp_path / "graph.tsv"
    graph.write_text("IsA\tcow\tmammal\n")
    with_graph = cell(settings=(*whole.settings, f"semantics=conceptnet:{graph}"))
    before = with_graph.sha256()
    graph.write_text("IsA\tcow\tanimal\n")
    assert with_graph.sha256() != before
    run = cell(start=f"run:{tmp_path}")
    before = run.sha256()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.safetensors").write_bytes(b"trained")
    assert run.sha256() != before


def test_what_can_never_run_is_refused_at_once(cell, tmp_path):
    with pytest.raises(ConfigError, match="unknown start 'imagnet'"):
        cell(start="imagnet")
    with pytest.raises(ConfigError, match="sake reads labels, so it can't be trained on unseen classes"):
        cell(transductive=True)
    with pytest.raises(ConfigError, match=r"unknown key 'optim\.lrr'"):
        run_grid([cell(settings=("optim.lrr=1",))], tmp_path)
    with pytest.raises(DataError, match="absent"):
        run_grid([cell().__class__(recipe="sake", data="folder:absent")], tmp_path)
    with pytest.raises(ConfigError, match="--jobs 0"):
        run_grid([cell()], tmp_path, jobs=0)
    assert not list(tmp_path.iterdir())


def test_two_studies_never_share_a_folder(cell, tmp_path):
    from filelock import FileLock

    with (
        FileLock(tmp_path / ".lock"),
        pytest.raises(RunError, match="another process is running the study in"),
    ):
        run_grid([cell()], tmp_path)


def test_threads_are_divided_among_jobs(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    assert [threads_per_worker(jobs) for jobs in (1, 2, 3, 16)] == [8, 4, 2, 1]
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert threads_per_worker(1) == len(os.sched_getaffinity(0))
