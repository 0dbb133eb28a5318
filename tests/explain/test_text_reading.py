"""What a text means to an encoder, and what each class, region and word adds to a photo's score."""

import pytest
import torch
from encoders_for_tests import Mapless
from texts_for_tests import COLOURS, Tower, explainer_of
from torch.nn import functional as F

from ssl_sbir.data.manifest import Domain
from ssl_sbir.errors import ExplainError
from ssl_sbir.explain.attribution.encoded_images import encode_images
from ssl_sbir.explain.run.explain_query import build_query_report
from ssl_sbir.explain.run.explainer import Explainer
from ssl_sbir.explain.text.query_text import TextQueries
from ssl_sbir.explain.text.text_answer import map_text_regions
from ssl_sbir.explain.text.text_reading import SHOWN_CONTRIBUTIONS, SHOWN_DRAWING_CLASSES

COUNT = len(COLOURS)
TEXT = "a glow of ember and moss"


def photo_vector(explainer, row):
    return F.normalize(explainer.gallery.embeddings[explainer.gallery.rows.tolist().index(row)], dim=0)


def class_sum(answer):
    return sum(one.value for one in answer.classes.largest) + answer.classes.rest


def mixed_weights(head, words, share):
    """A text's weights of which the dictionary's entries make up a share, before small ones are dropped."""
    entries = head.dictionary.find_entries(words)
    by_text, by_name = (
        (one @ head.descriptions.T / head.temperature).softmax(-1) for one in (words, entries.names[0])
    )
    return (1 - share) * by_text[0] + share * entries.weights[0] @ by_name


def test_a_reading_lists_the_classes_the_entries_and_the_drawing_s_classes(tower):
    drawing = torch.tensor([0.2, -0.5, 0.9])
    found = TextQueries(tower).read_text(TEXT, drawing)
    weights = tower.class_weights([TEXT])[0]
    order = sorted(range(COUNT), key=lambda n: -weights[n].item())[: int((weights > 0).sum())]
    assert len(order) < COUNT
    assert [one.name for one in found.classes] == [COLOURS[n] for n in order]
    assert [one.weight for one in found.classes] == weights[order].tolist()
    assert sum(one.weight for one in found.classes) == pytest.approx(1)
    assert [one.name for one in found.classes[:2]] == ["ember", "rust"]  # rust: a glow, in the dictionary
    assert (found.entries[0].name, found.entries[0].definition) == ("rust", "a glow")
    assert sum(one.weight for one in found.entries) == pytest.approx(1)
    mixed = mixed_weights(tower.head, tower.encoder([TEXT]), found.entries_share)[order]
    assert torch.allclose(weights[order], mixed / mixed.sum(), atol=1e-6)
    similar = torch.cosine_similarity(drawing[None], tower.head.rows)
    nearest = similar.argsort(descending=True)[:SHOWN_DRAWING_CLASSES]
    assert [one.name for one in found.drawing] == [COLOURS[n] for n in nearest]
    assert found.drawing[0].score == pytest.approx(similar.max().item(), abs=1e-6)
    assert (found.vocabulary, found.size, found.text_encoder) == ("colours", COUNT, tower.encoder.name)
    assert TextQueries(tower).read_text(TEXT).drawing == ()


def test_a_name_is_read_without_the_dictionary(tower):
    found = TextQueries(tower).read_text("ember")
    assert found.classes[0].name == "ember"
    assert found.entries == ()
    assert found.entries_share < 0.005
    tower.head.dictionary = None
    assert TextQueries(tower).read_text(TEXT).entries_share == 0


def test_a_text_alone_is_the_sum_of_its_classes_of_its_regions_and_of_its_words(painted, manifest, tower):
    explainer = explainer_of(painted, manifest, tower)
    found = explainer.search_by_text(TEXT)
    weights, rows = tower.class_weights([TEXT])[0], tower.head.rows
    direction = sum((weights[n] - 1 / COUNT) * rows[n] for n in range(COUNT))
    for one, row in zip(found.explanations, found.rows, strict=True):
        photo = photo_vector(explainer, row)
        score = torch.cosine_similarity(direction, photo, 0).item()
        assert one.score == pytest.approx(score, abs=1e-5)
        assert one.answer.part == pytest.approx(score, abs=1e-5)
        assert class_sum(one.answer) == pytest.approx(score, abs=1e-5)
        assert len(one.answer.classes.largest) == SHOWN_CONTRIBUTIONS
        assert one.answer.classes.num_rest == COUNT - SHOWN_CONTRIBUTIONS
        each = {
            COLOURS[n]: ((weights[n] - 1 / COUNT) * (rows[n] @ photo) / direction.norm()).item()
            for n in range(COUNT)
        }
        ordered = sorted(each, key=lambda name: -abs(each[name]))[:SHOWN_CONTRIBUTIONS]
        assert [part.name for part in one.answer.classes.largest] == ordered
        for part in one.answer.classes.largest:
            assert part.value == pytest.approx(each[part.name], abs=1e-5)
            assert part.weight == weights[COLOURS.index(part.name)].item()
        assert one.answer.map.method == "regions"
        assert sum(map(sum, one.answer.map.photo)) == pytest.approx(score, abs=1e-5)
        assert abs(one.answer.map.delta) < 1e-5
        assert sum(word.shapley for word in one.words.words) == pytest.approx(score, abs=1e-5)
        assert one.parts == {"text": one.words.text}
    assert [one.score for one in found.explanations] == sorted(
        (one.score for one in found.explanations), reverse=True
    )


@pytest.mark.parametrize("weights", [None, (3.0, 1.0)])
def test_beside_a_drawing_the_sums_are_the_text_s_part_of_the_score(painted, manifest, tower, weights):
    explainer = explainer_of(painted, manifest, tower, weights)
    found = explainer.search_and_explain("ring/03.png", TEXT)
    image = torch.from_numpy(found.pixels.copy()).permute(2, 0, 1)[None].float() / 255
    query = tower.fuse(sketch=image, text=[TEXT], weights=weights)
    for one, row in zip(found.explanations, found.rows, strict=True):
        photo = photo_vector(explainer, row)
        part = (query.text[0] @ photo).item()
        assert one.answer.part == pytest.approx(part, abs=1e-5)
        assert class_sum(one.answer) == pytest.approx(part, abs=1e-5)
        assert sum(map(sum, one.answer.map.photo)) == pytest.approx(part, abs=1e-5)
        assert part + (query.sketch[0] @ photo).item() == pytest.approx(one.score, abs=1e-5)
    assert found.reading.drawing[0].score == pytest.approx(
        torch.cosine_similarity(painted(image, torch.zeros(1, dtype=torch.int64)), tower.head.rows)
        .max()
        .item(),
        abs=1e-6,
    )


def test_regions_that_answer_a_text_are_the_known_ones(spots, photos):
    """Spots' first channel is red: a text that points along it is answered by the red spot."""
    seen = encode_images(spots, photos, Domain.PHOTO)
    for found, place in zip(
        map_text_regions(torch.tensor([0.5, 0.0, 0.0]), seen), ((3, 2), (1, 0)), strict=True
    ):
        grid = torch.tensor(found.photo)
        assert divmod(int(grid.argmax()), 4) == place
        assert grid.sum() == pytest.approx(grid.max().item())
    mean = torch.cosine_similarity(torch.tensor([[1.0, 0.0, 0.0]]), seen.embedding)
    assert sum(map(sum, found.photo)) == pytest.approx(0.5 * mean[1].item(), abs=1e-6)


def test_without_regions_a_text_s_map_is_by_occlusion_and_the_page_says_so(shapes, manifest, tmp_path):
    encoder = Mapless().eval()
    photos = torch.full((1, 3, 64, 64), 0.5)
    photos[0, :, 48:, 32:48] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    part = torch.tensor([0.5, 0.0, 0.0])
    found = map_text_regions(part, encode_images(encoder, photos, Domain.PHOTO))[0]
    assert (found.method, found.delta) == ("occlusion", None)
    covered = photos.clone()
    covered[..., 50:, 32:51] = 0.5  # a window of the seven by seven, twice as wide as its step
    before, after = (
        torch.cosine_similarity(part, encoder(it, torch.ones(1))[0], 0) for it in (photos, covered)
    )
    assert max(map(max, found.photo)) == pytest.approx(0.5 * (before - after).item(), abs=1e-6)
    explainer = explainer_of(encoder, manifest, Tower(encoder))
    html = (
        build_query_report(explainer, explainer.search_by_text("red"))
        .save(tmp_path / "page.html")
        .read_text()
    )
    assert html.count("the score drops when a window of the photo is covered") == 3
    assert "largest error" not in html


def test_a_text_of_unknown_words_alone_is_refused(painted, manifest, tower):
    with pytest.raises(ExplainError, match="knows no word"):
        explainer_of(painted, manifest, tower).search_by_text("qqq")
    with pytest.raises(ExplainError, match="no text"):
        Explainer(painted, manifest).search_by_text("ember")


def test_many_texts_are_read_in_parts_and_unknown_ones_have_no_vector(tower):
    texts = ["ember", "qqq", *(f"moss {colour}" for colour in COLOURS * 6), ""]
    found = TextQueries(tower).query_vectors(None, texts)
    assert not found[[1, -1]].any()
    assert torch.allclose(found[[0, *range(2, len(texts) - 1)]], tower([texts[0], *texts[2:-1]]), atol=1e-6)
    image = torch.rand(3, 32, 32)
    fused = TextQueries(tower).query_vectors(image, texts)
    alone = F.normalize(image.mean((1, 2)), dim=0)
    assert torch.allclose(fused[1], alone, atol=1e-6)
    assert torch.allclose(fused[5], tower.fuse(sketch=image[None], text=[texts[5]]).vector[0], atol=1e-6)


def test_a_text_that_weighs_nothing_has_no_part(tower):
    image = torch.rand(3, 32, 32)
    assert TextQueries(tower, (1.0, 0.0)).text_part(image, "ember") is None
    assert TextQueries(tower).text_part(image, "qqq") is None
    assert torch.equal(TextQueries(tower, (0.0, 1.0)).text_part(image, "ember"), tower(["ember"])[0])
