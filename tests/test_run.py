import json

import pytest

from ssl_sbir.errors import RunError
from ssl_sbir.run import RunFolder, refuse_taken

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
        refuse_taken(tmp_path / "thesis", overwrite=True)
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
        file.write(json.dumps({"step": 40})[:-1])
    assert [m["step"] for m in run.metrics()] == [10, 20, 30]
    run.forget_metrics_after(20)
    assert [m["step"] for m in run.metrics()] == [10, 20]


def test_an_unfinished_run_has_no_encoder(tmp_path):
    with pytest.raises(RunError, match="unfinished"):
        RunFolder.create(tmp_path / "run", "", FACTS).encoder()
