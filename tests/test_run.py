import json

import numpy as np
import pytest

from ssl_sbir.errors import RunError
from ssl_sbir.run import RunFolder, check_run_not_taken, list_checkpoints

FACTS = {"recipe": "sake", "split": {"name": "mine"}}


def test_a_run_tells_what_it_was_made_with(tmp_path):
    run = RunFolder.create(tmp_path / "a/b", "seed: 3\n", FACTS)
    run.add_provenance(host="x")
    assert run.config == {"seed": 3}
    assert RunFolder.open(tmp_path / "a/b").provenance == {**FACTS, "host": "x"}
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_a_taken_folder_names_every_way_out(tmp_path):
    RunFolder.create(tmp_path / "run", "", FACTS)
    (tmp_path / "run-2").mkdir()
    with pytest.raises(RunError) as caught:
        RunFolder.create(tmp_path / "run", "", FACTS)
    assert "sake on mine" in caught.value.message
    for way in ("--resume", "--overwrite", f"--out {tmp_path / 'run-3'}"):
        assert way in caught.value.hint


def test_overwriting_removes_the_old_run_but_never_other_files(tmp_path):
    RunFolder.create(tmp_path / "run", "a: 1", FACTS)
    assert RunFolder.create(tmp_path / "run", "a: 2", FACTS, overwrite=True).config == {"a": 2}
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("x")
    with pytest.raises(RunError, match="not a run"):
        check_run_not_taken(tmp_path / "thesis", overwrite=True)
    assert (tmp_path / "thesis/chapter.tex").is_file()


@pytest.mark.parametrize("make", [lambda p: None, lambda p: p.mkdir(), lambda p: p.write_text("x")])
def test_what_is_no_run_folder_is_not_opened(tmp_path, make):
    make(tmp_path / "run")
    with pytest.raises(RunError, match="run"):
        RunFolder.open(tmp_path / "run")


def test_damaged_provenance_is_named(tmp_path):
    run = RunFolder.create(tmp_path / "run", "", FACTS)
    (run.path / "provenance.json").write_text('{"recipe": "sa')
    with pytest.raises(RunError, match=r"provenance\.json"):
        _ = run.provenance


def test_metrics_past_a_step_are_forgotten_and_a_cut_off_line_is_left_out(tmp_path):
    run = RunFolder.create(tmp_path / "run", "", FACTS)
    for step in (10, 20, 30):
        run.log_metrics({"step": step, "loss": 1 / step})
    with (run.path / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 40, "monitor": {"photo": {"rank": 3}}})[:-2])
    assert [m["step"] for m in run.read_metrics()] == [10, 20, 30]
    run.forget_metrics_after(20)
    assert [m["step"] for m in run.read_metrics()] == [10, 20]


def test_an_unfinished_run_has_no_encoder(tmp_path):
    with pytest.raises(RunError, match="unfinished"):
        RunFolder.create(tmp_path / "run", "", FACTS).encoder()


def test_a_new_run_knows_its_images_at_once_and_takes_the_old_one_s_place(tmp_path):
    run = RunFolder.create(tmp_path / "run", "a: 1", FACTS, images=np.array([7, 3, 7]))
    assert run.trained_images().tolist() == [3, 7]
    (run.path / "evaluate").mkdir()
    assert RunFolder.create(tmp_path / "run", "a: 2", FACTS, overwrite=True).trained_images().tolist() == []
    assert sorted(p.name for p in run.path.iterdir()) == ["config.yaml", "provenance.json"]


def test_damaged_settings_are_named(tmp_path):
    run = RunFolder.create(tmp_path / "run", "a: 1", FACTS)
    for spoil in (lambda file: file.write_text("a: [1"), lambda file: file.unlink()):
        spoil(run.path / "config.yaml")
        with pytest.raises(RunError, match=r"config\.yaml"):
            _ = run.config


def test_what_is_named_like_a_checkpoint_is_left_alone(tmp_path):
    for name in ("step-000100", "step-000020", "step-000100.bak"):
        (tmp_path / name).mkdir()
    assert [place.name for place in list_checkpoints(tmp_path)] == ["step-000020", "step-000100"]
