"""WordNet: distances against a slow search, SAKE's rule, the rows that the shipped matrix gets wrong, the table."""

import random
import shutil
from itertools import pairwise

import pytest
from optional_parts import needs_wordnet

from ssl_sbir.data.class_names import normalize_class_name
from ssl_sbir.data.splits import Split
from ssl_sbir.errors import DataError
from ssl_sbir.semantics import imagenet_names, load_semantics
from ssl_sbir.semantics.candidate_names import class_table, imagenet_ids
from ssl_sbir.semantics.wordnet_files import load_nouns
from ssl_sbir.semantics.wordnet_source import WordNetSemantics


def slow_above(nouns, synset):
    """Every synset above one, with the fewest steps to it, by walking up from parent to parent."""
    found = {synset: 0}
    todo = [synset]
    for one in todo:
        for up in nouns.parents[one]:
            if found.get(up, 99) > found[one] + 1:
                found[up] = found[one] + 1
                todo.append(up)
    return found


def slow_sake(nouns, a, b):
    """METHODS: 1 if the same synset or in the hyponym closure either way; else path_similarity if > .2; else 0."""
    above_a, above_b = slow_above(nouns, a), slow_above(nouns, b)
    if a in above_b or b in above_a:
        return 1.0
    similarity = 1 / (1 + min(above_a[node] + above_b[node] for node in above_a if node in above_b))
    return similarity if similarity > 0.2 else 0.0


def test_similarities_equal_a_slow_walk(nouns):
    draw = random.Random(0)
    rows, columns = ([draw.randrange(len(nouns.words)) for _ in range(n)] for n in (12, 15))
    columns += rows[:2] + [nouns.parents[row][0] for row in rows if nouns.parents[row]]
    path, sake = nouns.path_similarity(rows, columns), nouns.sake_similarity(rows, columns)
    for i, a in enumerate(rows):
        for j, b in enumerate(columns):
            above_a, above_b = slow_above(nouns, a), slow_above(nouns, b)
            steps = min(above_a[node] + above_b[node] for node in above_a if node in above_b)
            assert path[i, j] == pytest.approx(1 / (1 + steps))
            assert sake[i, j] == pytest.approx(slow_sake(nouns, a, b))


def test_the_path_is_as_long_as_the_distance_and_follows_hypernyms(nouns):
    draw = random.Random(1)
    for _ in range(40):
        a, b = (draw.randrange(len(nouns.words)) for _ in range(2))
        up, down = nouns.hypernym_path(a, b)
        assert len(up) + len(down) - 1 == nouns.path_distances([a], [b])[0, 0]
        assert all(above in nouns.parents[one] for one, above in pairwise(up))
        way = [up[-1], *down]
        assert all(above in nouns.parents[one] for above, one in pairwise(way))
        assert (up[0], way[-1]) == (a, b)


def test_repaired_rows_have_a_one_where_imagenet_has_the_class(nouns):
    names = ("frog", "shark", "sheep", "mushroom", "seagull")
    rows = WordNetSemantics(nouns).similarity(names, imagenet_names())
    assert (rows.amax(1) > 0).all()
    assert rows.amax(1)[:4].tolist() == [1, 1, 1, 1]
    for name, synset in (
        ("frog", "n01641577"),
        ("shark", "n01484850"),
        ("sheep", "n02412080"),
        ("mushroom", "n07734744"),
    ):
        assert rows[names.index(name), imagenet_ids()[synset]] == 1
    assert {imagenet_names()[j].split(" [")[0] for j in rows[4].nonzero()[:, 0]} == {"pelican", "albatross"}


def test_a_name_like_nothing_keeps_its_nearest_beside_imagenet_only(nouns):
    source = WordNetSemantics(nouns)
    assert (
        source.similarity(["seal"], ["horse"]).item()
        == source.similarity(["seal"], ["horse", "sea lion"])[0, 0]
    )
    assert source.similarity(["seagull"], imagenet_names()).any()


def test_of_names_with_several_synsets_the_nearest_are_connected(nouns):
    source = WordNetSemantics(nouns)
    for a, b in (("cannon", "gun"), ("bowl", "cup"), ("radio", "telephone"), ("mushroom", "plant")):
        plain = WordNetSemantics(nouns, "wordnet-path", "path").similarity([a], [b]).item()
        assert source.path(a, b).similarity == pytest.approx(plain)


def test_every_class_of_the_splits_has_a_synset_written_down_with_a_reason_where_it_is_ambiguous(nouns):
    names = {
        normalize_class_name(n) for s in Split.names() for n in (*Split.load(s).seen, *Split.load(s).unseen)
    }
    for name in names:
        entry = class_table()[name]
        senses = nouns.senses.get(name, ())
        assert entry.get("why") or len(senses) <= 1, name
        for synset in entry["synsets"]:
            assert nouns.describe_synset(nouns.find_synset(synset)) == synset
    assert str(WordNetSemantics(nouns).resolve_names(["seal"])["seal"]) == "n02076196 seal"


def test_names_beyond_the_table_are_resolved_by_a_back_off_that_says_so(nouns):
    found = WordNetSemantics(nouns).resolve_names(
        ["Cherries", "racing_hydrofoil", "xyzzy", "mouse", "mouse [n03793489]"]
    )
    assert found["Cherries"].matched_name.endswith("cherry")
    assert "in the singular" in str(found["Cherries"])
    assert "by its head noun" in str(found["racing_hydrofoil"])
    assert found["xyzzy"] is None
    assert found["mouse"].keys != found["mouse [n03793489]"].keys


def test_the_shipped_matrix_lacks_what_the_repaired_rule_finds(nouns, shared):
    shipped = load_semantics(f"sake-shipped:{shared}/sake/similarity_sketchy.npz")
    names = list(shipped.rows)
    theirs = shipped.similarity(names, imagenet_names())
    assert sorted({round(v, 3) for v in theirs.unique().tolist()}) == [0, 0.25, 0.333, 1]
    assert theirs[names.index("seagull")].sum() == 0
    repaired = WordNetSemantics(nouns).similarity(names, imagenet_names())
    ones = (repaired == 1).any(1).sum().item(), (theirs == 1).any(1).sum().item()
    assert ones[1] == 71
    assert ones[0] > ones[1]


def test_the_graph_of_hypernyms_crosses_the_border(nouns):
    graph = nouns.to_networkx()
    assert graph.number_of_nodes() == len(nouns.words)
    assert graph.has_edge("n02084071", "n02083346")  # dog, canine


def test_a_broken_wordnet_is_named(nouns, tmp_path):
    with pytest.raises(DataError, match=r"no data\.noun in"):
        load_nouns(str(tmp_path))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data.noun").write_text("00000001 03 n 01 thing 0 000 | a thing\n")
    with pytest.raises(DataError, match=r"not WordNet 3\.0"):
        load_nouns(str(tmp_path / "other"))
    real = needs_wordnet()
    (tmp_path / "cut").mkdir()
    shutil.copy(real / "data.noun", tmp_path / "cut")
    (tmp_path / "cut" / "index.noun").write_text("  1 a licence\nfrog n 3 5 @ ~\n")
    with pytest.raises(DataError, match=r"index\.noun, line 2: not a lemma"):
        load_nouns(str(tmp_path / "cut"))
    (tmp_path / "data.noun").write_text("00000001 03 n zz thing\n")
    with pytest.raises(DataError, match="line 1: not a synset"):
        load_nouns(str(tmp_path))
