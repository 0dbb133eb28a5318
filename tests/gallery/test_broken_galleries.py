"""What goes wrong around an index: crashes, other writers, damaged files, servers that go away."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ssl_sbir.errors import GalleryError
from ssl_sbir.gallery.create import create_gallery, open_gallery


def some(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def index(tmp_path: Path) -> Path:
    create_gallery(tmp_path / "index", 8, device="cpu").add(["a", "b"], some(2))
    return tmp_path / "index"


def test_a_change_that_fails_leaves_the_index_as_it_was(index: Path):
    gallery = open_gallery(index, device="cpu")
    before = {file: file.read_bytes() for file in index.rglob("*") if file.is_file()}
    with pytest.raises(RuntimeError, match="crash"), gallery.write_transaction():
        gallery.remove(["a"])
        gallery.add(["c"], some(1))
        raise RuntimeError("crash")
    assert [name for name, _ in gallery.items()] == ["a", "b"]
    assert {file: file.read_bytes() for file in index.rglob("*") if file.is_file()} == before


WRITER = """
import os, signal, sys, time, torch
from ssl_sbir.gallery.create import open_gallery
gallery = open_gallery(sys.argv[1], device="cpu")
with gallery.write_transaction():
    gallery.remove(["a"])
    gallery.add(["other"], torch.ones(1, 8))
    print("holding", flush=True)
    time.sleep(0.6)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_second_writer_is_told_or_waits_and_a_killed_one_leaves_nothing(index: Path):
    gallery = open_gallery(index, device="cpu")
    command = [sys.executable, "-c", WRITER, str(index)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "holding\n"
        with (
            pytest.raises(GalleryError, match="another process has been writing"),
            gallery.write_transaction(0.1),
        ):
            pass
        assert len(gallery.search(some(1), 5)[0]) == 2  # reading needs no lock
        gallery.add(["mine"], some(1, 1))
        assert other.wait(10) < 0
    again = open_gallery(index, device="cpu")
    assert [name for name, _ in again.items()] == ["a", "b", "mine"]
    stated = json.loads((index / "index.json").read_text())["segments"]
    assert sorted(it.name for it in index.glob("segment-*")) == [it["name"] for it in stated]


def test_damaged_files_are_named(index: Path):
    (segment,) = index.glob("segment-*")
    vectors = segment / "vectors.f32"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:-4])
    with pytest.raises(GalleryError, match=r"segment-000001-[0-9a-f]+ is damaged"):
        open_gallery(index)
    vectors.write_bytes(whole)
    (segment / "ids-offsets.npy").write_bytes(b"no array")
    with pytest.raises(GalleryError, match=r"segment-000001-[0-9a-f]+ is damaged"):
        open_gallery(index)
    (segment / "keys.npy").unlink()
    (segment / "ids-offsets.npy").unlink()
    with pytest.raises(GalleryError, match="is missing"):
        open_gallery(index)
    (index / "index.json").write_text('{"format": 7, "engine": "exact"}')
    with pytest.raises(GalleryError, match=r"index\.json can't be read"):
        open_gallery(index)


def test_nothing_answers_at_a_uri(tmp_path: Path):
    pytest.importorskip("pymilvus", reason="pymilvus is not installed: pip install 'pymilvus[milvus-lite]'")
    with pytest.raises(GalleryError, match=r"Milvus at http://127\.0\.0\.1:9 gave no answer"):
        create_gallery(tmp_path / "index", 8, engine="milvus:http://127.0.0.1:9")
