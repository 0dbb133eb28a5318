"""The quickstart's folder: what it takes over, what it refuses, and that it never removes what isn't its own."""

import pytest

from ssl_sbir.errors import RunError
from ssl_sbir.quickstart import QUICKSTART_MARKER, _clear_output


def test_another_s_folder_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    (tmp_path / "split.json").write_text("{}")
    (tmp_path / QUICKSTART_MARKER).write_text("not json")
    for overwrite in (False, True):
        with pytest.raises(RunError, match="not a quickstart"):
            _clear_output(tmp_path, overwrite, False)
    with pytest.raises(RunError, match="not a quickstart"):
        _clear_output(tmp_path / "thesis.tex", False, False)
    assert (tmp_path / "thesis.tex").read_text() == "x"


def test_a_tiny_one_is_not_shown_as_a_whole_one(tmp_path):
    _clear_output(tmp_path / "new", False, False)
    (tmp_path / QUICKSTART_MARKER).write_text('{"tiny": true}')
    (tmp_path / "pretrained").mkdir()
    (tmp_path / "mine.txt").write_text("x")
    _clear_output(tmp_path, False, True)
    with pytest.raises(RunError, match="with --tiny"):
        _clear_output(tmp_path, False, False)
    _clear_output(tmp_path, True, False)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
