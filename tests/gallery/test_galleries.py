"""Every engine keeps the same promises, and returns what a loop over all items returns."""

import time
from pathlib import Path

import pytest
import torch

from ssl_sbir.errors import GalleryError
from ssl_sbir.gallery.create import create_gallery, open_gallery

HOSTILE = ['"; drop', "a'b\\", "line\nbreak", "\x00", "🦊/é.png", "\udcff.jpg", "\ud800", "x" * 3000, "", "0"]


def vectors(count: int, width: int = 16, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def slow_search(ids: list[str], items: torch.Tensor, query: torch.Tensor, k: int) -> list[str]:
    scores = [float(query.double() @ item.double() / item.double().norm()) for item in items]
    return [ids[place] for place in sorted(range(len(ids)), key=lambda n: -scores[n])[:k]]


def names(found: list) -> list[list[str]]:
    return [[it.id for it in of] for of in found]


def test_every_engine_keeps_its_promises(engine, make, tmp_path: Path):
    keeps_its_promises(engine, make, tmp_path)
    names_what_it_refuses(engine, make)


def test_a_real_server_keeps_the_same_promises_and_is_named_when_it_hangs(
    milvus_server, make, tmp_path: Path
):
    engine = f"milvus:{milvus_server.uri}"
    keeps_its_promises(engine, make, tmp_path)
    names_what_it_refuses(engine, make)
    gallery = make(16, engine, "third")
    gallery.add(["a"], vectors(1))
    gallery._timeout = 2.0
    milvus_server.freeze()
    start = time.monotonic()
    with pytest.raises(GalleryError, match=r"Milvus at http://127.0.0.1:\d+ gave no answer after"):
        gallery.search(vectors(1), 1)
    assert time.monotonic() - start < 10
    milvus_server.stop()
    with pytest.raises(GalleryError, match="gave no answer"):
        gallery.add(["b"], vectors(1))


def keeps_its_promises(engine, make, tmp_path: Path) -> None:
    """Items are added, replaced, removed, kept and found as a loop finds them."""
    gallery = make(16, engine, facts={"model": {"sha256": "1"}})
    assert gallery.search(vectors(2), 3) == [[], []]
    items, queries = vectors(60), vectors(5, seed=1)
    ids = [*HOSTILE, *(f"photo/{n}.jpg" for n in range(50))]
    with gallery.write_transaction():
        gallery.add(ids[:30], items[:30], [{"n": n} for n in range(30)])
        gallery.add(ids[30:], items[30:])
    assert len(gallery) == 60
    found = gallery.search(queries, 7)
    assert names(found) == [slow_search(ids, items, query, 7) for query in queries]
    best = found[0][0]
    place = ids.index(best.id)
    assert best.score == pytest.approx(float(queries[0] @ items[place] / items[place].norm()), abs=1e-5)
    assert best.metadata == ({"n": place} if place < 30 else {})
    assert gallery.remove([*HOSTILE, "never there"]) == len(HOSTILE)
    moved = vectors(1, seed=2)
    gallery.add(["photo/0.jpg", "late"], torch.cat([moved, items[:1]]))
    ids, items = [*ids[11:], "photo/0.jpg", "late"], torch.cat([items[11:], moved, items[:1]])
    assert names(gallery.search(queries, 60)) == [slow_search(ids, items, query, 60) for query in queries]
    gallery.close()
    again = open_gallery(tmp_path / "index", device="cpu")
    assert (len(again), again.width, again.facts["model"]) == (51, 16, {"sha256": "1"})
    assert sorted(name for name, _ in again.items()) == sorted(ids)
    torch.testing.assert_close(
        again.get_vectors(["late", ids[3]]), torch.nn.functional.normalize(items[[50, 3]])
    )
    assert names(again.search(queries, 9)) == [slow_search(ids, items, query, 9) for query in queries]
    with pytest.raises(GalleryError, match="no item 'gone'"):
        again.get_vectors(["gone"])
    again.update_facts(model={"sha256": "2"})
    again.close()
    third = open_gallery(tmp_path / "index", device="cpu")
    assert third.facts["model"] == {"sha256": "2"}
    third.close()


def names_what_it_refuses(engine, make) -> None:
    gallery = make(16, engine.replace("gallery.db", "second.db"), "second")
    gallery.add(["a"], torch.zeros(1, 16))
    assert gallery.search(vectors(1), 5)[0][0].score == 0
    bad = vectors(2)
    bad[1, 3] = torch.nan
    for ids, items, said in (
        (["b", "b"], vectors(2), "'b' occurs twice"),
        (["b"], vectors(2), "1 ids, 2 vectors"),
        (["b", "c"], bad, "item 1 holds a value that is not finite"),
        (["b"], vectors(1, 17), r"shape \[1, 17\] for a gallery of width 16"),
    ):
        with pytest.raises(GalleryError, match=said):
            gallery.add(ids, items)
    with pytest.raises(GalleryError, match="query 1 holds a value"):
        gallery.search(bad, 1)
    assert len(gallery) == 1


def test_equal_scores_stay_in_gallery_order(make):
    pytest.importorskip("faiss", reason="faiss is not installed: pip install faiss-cpu")
    items = vectors(1)[[0] * 12]
    for engine in ("exact", "faiss"):
        gallery = make(16, engine, engine)
        gallery.add([f"{n:02}" for n in range(11, -1, -1)], items)
        assert names(gallery.search(items[:1], 12)) == [[f"{n:02}" for n in range(11, -1, -1)]]


def test_flat_faiss_finds_all_and_approximate_kinds_say_their_recall(make):
    pytest.importorskip("faiss", reason="faiss is not installed: pip install faiss-cpu")
    # Pictures come in kinds: 60 centres, as an index by cells or links expects them.
    draw = torch.Generator().manual_seed(0)
    items = vectors(60, 24)[torch.randint(60, (3000,), generator=draw)] * 2 + vectors(3000, 24, seed=3)
    queries, ids = items[::40] + 0.3 * vectors(75, 24, seed=5), [str(n) for n in range(3000)]
    exact = make(24, "exact", "exact")
    exact.add(ids, items)
    true = exact.search(queries, 10)
    for kind, least in (("flat", 1.0), ("hnsw", 0.95), ("ivf", 0.7)):
        gallery = make(24, f"faiss:{kind}", kind)
        gallery.add(ids, items)
        found = gallery.search(queries, 10)
        shared = sum(len(set(a) & set(b)) for a, b in zip(names(found), names(true), strict=True)) / 750
        assert shared >= least
        assert gallery.measure_recall(10, queries) == pytest.approx(shared)
        assert gallery.measure_recall() >= least
        assert gallery.recall_facts() == ({} if kind == "flat" else {"recall@10": gallery.measure_recall()})
        assert found == true or kind != "flat"
        assert gallery.remove(ids[:2500]) == 2500
        assert {int(it.id) >= 2500 for it in gallery.search(queries[:1], 10)[0]} == {True}


def test_many_small_changes_are_merged_and_readers_keep_what_they_opened(make, tmp_path: Path):
    gallery = make(16)
    items, query = vectors(40), vectors(1, seed=1)
    gallery.add([str(n) for n in range(20)], items[:20])
    reader = open_gallery(tmp_path / "index", device="cpu")
    before = reader.search(query, 40)
    for n in range(20, 40):
        gallery.add([str(n)], items[n : n + 1])
    assert len(list((tmp_path / "index").glob("segment-*"))) <= 9
    assert names(gallery.search(query, 40)) == [slow_search([str(n) for n in range(40)], items, query[0], 40)]
    assert reader.search(query, 40) == before
    gallery.remove([str(n) for n in range(39)])
    assert names(gallery.search(query, 40)) == [["39"]]
    gallery.remove(["39"])
    assert len(gallery) == 0
    assert not list((tmp_path / "index").glob("segment-*"))
    with pytest.raises(GalleryError, match="already holds an index"):
        create_gallery(tmp_path / "index", 16)


def test_taken_folders_and_unknown_engines(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "mine.jpg").write_bytes(b"x")
    with pytest.raises(GalleryError, match="something that is not an index"):
        create_gallery(tmp_path / "photos", 4)
    with pytest.raises(GalleryError, match="is a file"):
        create_gallery(tmp_path / "photos" / "mine.jpg", 4)
    with pytest.raises(GalleryError, match="no index at"):
        open_gallery(tmp_path / "photos")
    with pytest.raises(GalleryError, match="Did you mean 'faiss'"):
        create_gallery(tmp_path / "index", 4, engine="fais")
    with pytest.raises(GalleryError, match=r"ends in \.db"):
        create_gallery(tmp_path / "index", 4, engine="milvus:gallery")
    assert not (tmp_path / "index").exists()


def test_of_equal_photos_the_first_are_found(make, monkeypatch):
    monkeypatch.setattr("ssl_sbir.gallery.exact.EXACT_BLOCK_ROWS", 64)
    vectors = torch.nn.functional.normalize(
        torch.randn(300, 16, generator=torch.Generator().manual_seed(0)), dim=1
    )
    vectors[50:] = vectors[50]
    gallery = make(16)
    gallery.add([f"{place:03}" for place in range(300)], vectors)
    ids = [it.id for it in gallery.search(vectors[50:51], 5)[0]]
    assert ids == ["050", "051", "052", "053", "054"]
