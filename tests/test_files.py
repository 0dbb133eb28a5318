import errno

import pytest
from safetensors import SafetensorError

from ssl_sbir import files
from ssl_sbir.errors import SslSbirError
from ssl_sbir.files import atomic_folder, sha256_of, write_atomic
from ssl_sbir.registry import Registry


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    write_atomic(tmp_path / "f", "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(SslSbirError, match="No space left"):
        write_atomic(tmp_path / "f", "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("f", "old")]


def test_a_folder_whose_writing_fails_never_appears(tmp_path):
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "d") as place:
        (place / "half").write_text("x")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), SafetensorError("No space left")])
def test_a_full_disk_is_named_with_the_folder(tmp_path, error):
    with (
        pytest.raises(SslSbirError, match=r"cannot write .*/d: No space left"),
        atomic_folder(tmp_path / "d"),
    ):
        raise error
    assert not list(tmp_path.iterdir())


def test_a_folder_takes_the_place_of_the_one_before(tmp_path):
    for text in ("one", "two"):
        with atomic_folder(tmp_path / "d") as place:
            (place / text).write_text(text)
    assert [p.name for p in (tmp_path / "d").iterdir()] == ["two"]
    assert [p.name for p in tmp_path.iterdir()] == ["d"]


def test_hashes_know_where_a_part_ends():
    assert sha256_of("ab", "c") != sha256_of("a", "bc")


def test_a_registry_suggests_and_refuses_twins():
    things: Registry[int] = Registry("thing", "list things")
    things.register("alpha")(1)
    with pytest.raises(SslSbirError, match=r"unknown thing 'alhpa'. Did you mean 'alpha'\?"):
        things.get("alhpa")
    with pytest.raises(SslSbirError, match="two entries for thing are called 'alpha'"):
        things.register("alpha")(2)
    assert things.get("alpha") == 1
