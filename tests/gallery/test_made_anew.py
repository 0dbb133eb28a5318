"""An index that is overwritten is replaced when the new one is complete, and not before."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_sbir import Retriever
from ssl_sbir.encoders import Encoder, Preprocess
from ssl_sbir.errors import GalleryError, SslSbirError
from ssl_sbir.gallery.create import create_atomically, create_gallery, open_gallery
from ssl_sbir.search.model import SearchModel


class Grey(Encoder):
    """The mean colour of each quarter; `sign` makes another model of it."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__({"kind": "grey", "name": f"grey {sign}"}, Preprocess(8), 12)
        self.sign = torch.nn.Parameter(torch.tensor(sign))

    def feature_map(self, image, domain):
        raise NotImplementedError

    def forward(self, image, domain):
        return self.sign * (torch.nn.functional.adaptive_avg_pool2d(image, 2).flatten(1) - 0.5)


def retriever(sign: float = 1.0) -> Retriever:
    encoder = Grey(sign).eval()
    return Retriever(SearchModel(str(encoder.spec["name"]), encoder, "cpu"))


@pytest.fixture
def photos(shapes: Path, tmp_path: Path) -> Path:
    shutil.copytree(shapes / "photo" / "ring", tmp_path / "photos")
    return tmp_path / "photos"


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no picture")
    return tmp_path / "bad"


def test_the_old_index_stays_until_the_new_one_is_whole(engine, photos, bad, tmp_path):
    index = tmp_path / "index"
    first = retriever().index(photos, index, engine=engine)
    first.gallery.close()
    with pytest.raises(GalleryError, match="none of 1 photos can be read"):
        retriever(-1.0).index(bad, index, engine=engine, overwrite=True)
    kept = retriever().open(index)
    assert len(kept.gallery) == 12
    kept.gallery.close()
    again = retriever(-1.0).index(photos, index, engine=engine, overwrite=True)
    assert len(again.gallery) == 12
    found = again.search(photo=photos / "03.png", k=1)
    assert found[0].id == "03.png"
    again.gallery.close()
    assert not [it.name for it in index.iterdir() if it.name.startswith(".staging-")]
    with pytest.raises(GalleryError, match="another model"):
        retriever().open(index)


def test_a_first_index_that_fails_leaves_none(bad, tmp_path):
    with pytest.raises(GalleryError, match="none of 1 photos"):
        retriever().index(bad, tmp_path / "index")
    with pytest.raises(GalleryError, match="no index"):
        open_gallery(tmp_path / "index")


@pytest.mark.parametrize("text", ["{", '{"format": 99}'])
def test_a_damaged_index_can_be_made_anew(photos, tmp_path, text):
    retriever().index(photos, tmp_path / "index")
    (tmp_path / "index" / "index.json").write_text(text)
    with pytest.raises(GalleryError):
        retriever().open(tmp_path / "index")
    assert len(retriever().index(photos, tmp_path / "index", overwrite=True).gallery) == 12


def test_whoever_opened_the_old_index_adds_nothing_to_the_new_one(engine, tmp_path):
    some = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    old = create_gallery(tmp_path / "index", 4, engine=engine, device="cpu")
    old.add(list("abcdef"), some)
    new = create_gallery(tmp_path / "index", 4, engine=engine, device="cpu", overwrite=True)
    new.add(list("uvwxyz"), -some)
    for change in (
        lambda: old.update_facts(x=1),
        lambda: old.add(["g"], some[:1]),
        lambda: old.remove(["u"]),
    ):
        with pytest.raises(GalleryError, match="overwritten after it was opened"):
            change()
    assert {it.id for it in new.search(some, 1)[0]} <= set("uvwxyz")
    assert len(new) == 6


def test_rows_of_an_overwritten_index_are_never_mistaken_for_new_ones(tmp_path):
    draw = torch.Generator().manual_seed(0)
    old = create_gallery(tmp_path / "index", 4, device="cpu")
    old.add([f"v{n}" for n in range(20)], torch.randn(20, 4, generator=draw))
    names = {it.name for it in (tmp_path / "index").glob("segment-*")}
    new = create_gallery(tmp_path / "index", 4, device="cpu", overwrite=True)
    new.add([f"w{n}" for n in range(20)], torch.randn(20, 4, generator=draw))
    assert names.isdisjoint(it.name for it in (tmp_path / "index").glob("segment-*"))


def test_a_place_that_cannot_be_written_is_named(photos, tmp_path):
    (tmp_path / "afile").write_text("x")
    with pytest.raises(SslSbirError, match="cannot write"):
        retriever().index(photos, tmp_path / "afile" / "index")


def test_waiting_for_another_writer_ends_when_it_was_told_to(photos, tmp_path):
    retriever().index(photos, tmp_path / "index")
    with create_atomically(tmp_path / "index", 12, overwrite=True) as other:
        other.add(["a"], torch.ones(1, 12))
        with pytest.raises(GalleryError, match="another process"):
            retriever().index(photos, tmp_path / "index", overwrite=True, wait=0.0)


def test_what_fails_in_reading_is_not_called_a_failure_to_write(tmp_path):
    gallery = create_gallery(tmp_path / "index", 4, device="cpu")
    with pytest.raises(FileNotFoundError), gallery.write_transaction():
        np.load(tmp_path / "nowhere.npy")
