import json

import pytest
import torch
from encoders_for_tests import SIDE, Convolution, cell
from torch import nn

from ssl_sbir.data.image_folders import FileSource
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.quickdraw_strokes import StrokeSource
from ssl_sbir.encoders import ProjectedEncoder, load_encoder
from ssl_sbir.errors import DataError, ExplainError
from ssl_sbir.explain import explain_pairs
from ssl_sbir.explain.attribution.attention_rollout import attention_rollout
from ssl_sbir.explain.attribution.encoded_images import encode_images
from ssl_sbir.explain.attribution.gradcam import token_gradcam
from ssl_sbir.explain.attribution.heat_maps import METHOD_MAPS
from ssl_sbir.explain.attribution.integrated_gradients import integrated_gradients
from ssl_sbir.explain.attribution.occlusion import COVER_VALUE
from ssl_sbir.explain.attribution.stroke_importance import (
    ink_pieces,
    load_vector_strokes,
    occlude_strokes,
    paint_strokes,
)
from ssl_sbir.explain.attribution.vision_transformers import has_attention


@pytest.fixture
def vit():
    torch.manual_seed(0)
    return load_encoder("timm:vit_tiny_patch16_224", size=48, pretrained=False).eval()


@pytest.mark.parametrize("domain", list(Domain))
def test_integrated_gradients_are_complete_within_their_printed_error(domain):
    torch.manual_seed(0)
    encoder = ProjectedEncoder(Convolution(), nn.Linear(8, 6)).eval()
    images, others = torch.rand(3, 3, 32, 32), torch.randn(3, 6)
    side = encode_images(encoder, images, domain)
    maps, errors = integrated_gradients(side, images, others)
    blank = side.embed(torch.full_like(images[:1], COVER_VALUE[domain]))
    gained = torch.cosine_similarity(side.embedding, others) - torch.cosine_similarity(blank, others)
    assert torch.allclose(maps.sum((1, 2)) + errors, gained, atol=1e-4)
    assert errors.abs().max() < 0.05


def test_more_steps_shrink_the_error():
    torch.manual_seed(1)
    encoder, images, others = Convolution().eval(), torch.rand(4, 3, 32, 32), torch.randn(4, 8)
    side = encode_images(encoder, images, Domain.PHOTO)
    coarse, fine = (integrated_gradients(side, images, others, steps)[1].abs().mean() for steps in (2, 64))
    assert fine < coarse


def test_integrated_gradients_find_the_known_answer_and_print_their_error(spots, sketch, photos):
    known = explain_pairs(spots, sketch, photos, methods=["integrated"])[0].maps[0]
    photo = torch.tensor(known.photo)
    assert divmod(int(photo.argmax()) // (32 // 4), 4)[1] in range(4)
    assert photo[24:, 16:24].sum() > 0.9 * photo.sum()
    assert abs(known.sketch_error) < 0.05
    assert abs(known.photo_error) < 0.05


def test_pieces_are_all_ink_once(sketch):
    drawn = cell(sketch.clone(), 3, 3, (0.2, 0.2, 0.2))
    pieces = ink_pieces(drawn)
    assert len(pieces) == 2
    assert torch.equal(pieces.sum(0) == 1, drawn[0] < 0.9)


def test_a_long_line_is_cut_and_many_dots_are_gathered():
    line = torch.ones(3, SIDE, SIDE)
    line[:, 30, :] = 0
    assert len(ink_pieces(line)) == 4
    dots = torch.ones(3, SIDE, SIDE)
    dots[:, ::4, ::4] = 0
    assert len(ink_pieces(dots, max_pieces=5)) == 5
    assert torch.equal(ink_pieces(dots, max_pieces=5).any(0), dots[0] < 0.9)
    assert ink_pieces(torch.ones(3, 8, 8)).shape == (0, 8, 8)


def test_the_loss_of_each_stroke_equals_a_slow_loop(spots, sketch, photos):
    drawn = cell(sketch.clone(), 3, 3, (0.5, 0.5, 0.5))
    ours, theirs = (
        encode_images(spots, drawn[None], Domain.SKETCH),
        encode_images(spots, photos, Domain.PHOTO),
    )
    pieces = ink_pieces(drawn)
    drops = occlude_strokes(ours, theirs.embedding, pieces)
    for k in range(2):
        for p, piece in enumerate(pieces):
            without = drawn.clone()
            without[:, piece] = 1.0
            before = torch.cosine_similarity(ours.embedding[0], theirs.embedding[k], 0)
            after = torch.cosine_similarity(ours.embed(without[None])[0], theirs.embedding[k], 0)
            assert drops[k, p].item() == pytest.approx((before - after).item(), abs=1e-6)
    assert torch.allclose(paint_strokes(drops, pieces)[0][pieces[0]], drops[0, 0])


def test_a_drawing_kept_as_strokes_is_taken_apart_as_it_was_drawn(tmp_path):
    strokes = [[[10, 120], [10, 10]], [[10, 120], [200, 200]], [[60, 60], [0, 255]]]
    (tmp_path / "cat.ndjson").write_text("\n" + json.dumps({"word": "cat", "drawing": strokes}) + "\n{}\n")
    source = StrokeSource(tmp_path)
    pieces = load_vector_strokes(source, "cat.ndjson#1", 64)
    assert pieces.shape == (3, 64, 64)
    assert not (pieces[0] & pieces[1]).any()
    assert (pieces[0] & pieces[2]).any()
    assert load_vector_strokes(source, "a/b.png", 64) is None
    assert load_vector_strokes(FileSource(tmp_path), "cat.ndjson#1", 64) is None
    with pytest.raises(DataError, match=r"cat\.ndjson"):
        load_vector_strokes(source, "cat.ndjson#9999", 64)


def slow_rollout(encoder, image):
    """Every block computed by hand, attention included."""
    model = encoder.backbone
    x = model._pos_embed(model.patch_embed(encoder.normalize_image(image)))
    flow = torch.eye(x.shape[1])[None]
    for block in model.blocks:
        heads = block.attn.num_heads
        qkv = block.attn.qkv(block.norm1(x)).reshape(*x.shape[:2], 3, heads, -1)
        q, k = qkv[:, :, 0].transpose(1, 2), qkv[:, :, 1].transpose(1, 2)
        attention = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        flow = (0.5 * attention.mean(1) + 0.5 * torch.eye(x.shape[1])) @ flow
        x = block(x)
    return flow[:, 0, 1:]


def test_attention_rollout_equals_a_slow_loop(vit):
    image = torch.rand(2, 3, 48, 48)
    found = attention_rollout(vit, image, Domain.PHOTO)
    with torch.no_grad():
        slow = slow_rollout(vit, image)
    assert found.shape == (2, 3, 3)
    assert torch.allclose(found.flatten(1), slow, atol=1e-6)
    assert vit.backbone.blocks[0].attn.fused_attn  # left as it was


def test_a_vision_transformer_gets_attention_maps_and_a_cnn_is_told(vit, spots, sketch, photos):
    known = explain_pairs(vit, torch.rand(3, 48, 48), torch.rand(2, 3, 48, 48), methods=["attention"])
    assert known[0].maps[0].method == "attention"
    assert has_attention(ProjectedEncoder(vit, nn.Linear(vit.width, 4)))
    with pytest.raises(ExplainError, match="no vision transformer") as error:
        explain_pairs(spots, sketch, photos, methods=["attention"])
    assert "supports gradcam, regions, occlusion, strokes, integrated." in error.value.hint


def slow_token_gradcam(encoder, image, other):
    """One picture: the last block by hand on tokens that carry a gradient, then the formula in loops."""
    model = encoder.backbone
    with torch.no_grad():
        tokens = model._pos_embed(model.patch_embed(encoder.normalize_image(image)))
        for block in model.blocks[:-1]:
            tokens = block(tokens)
    tokens.requires_grad_()
    embedding = model.forward_head(model.norm(model.blocks[-1](tokens)), pre_logits=True)
    (slope,) = torch.autograd.grad(torch.cosine_similarity(embedding, other)[0], tokens)
    patches, slopes = tokens[0, 1:].detach(), slope[0, 1:]
    return [
        sum(float(slopes[:, channel].mean() * patch[channel]) for channel in range(len(patch)))
        for patch in patches
    ]


def test_gradcam_of_a_vision_transformer_equals_the_formula_in_loops(vit):
    images, others = torch.rand(2, 3, 48, 48), torch.randn(2, vit.width)
    found = token_gradcam(encode_images(vit, images, Domain.PHOTO), images, others)
    assert found.shape == (2, 3, 3)
    for n in range(2):
        slow = slow_token_gradcam(vit, images[n : n + 1], others[n : n + 1])
        assert found[n].flatten().tolist() == pytest.approx(slow, abs=1e-6)
    assert not vit.backbone.blocks[-1]._forward_pre_hooks  # left as it was


def test_a_vision_transformer_has_gradcam_where_its_class_token_is_the_feature(vit):
    sketch, photos = torch.rand(3, 48, 48), torch.rand(2, 3, 48, 48)
    known = explain_pairs(vit, sketch, photos, methods=["gradcam"])[0]
    assert known.maps[0].method == "gradcam"
    assert known.regions is None
    assert "no region pairs" in known.warnings[0]
    assert "gradcam, occlusion, strokes, integrated, attention" in known.warnings[0]
    with pytest.raises(ExplainError, match="regions"):
        explain_pairs(vit, sketch, photos, methods=["regions"])


def test_attention_of_a_hugging_face_model(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model = transformers.ViTModel(transformers.ViTConfig(**sizes, image_size=32, patch_size=8))
    model.save_pretrained(tmp_path)
    encoder = load_encoder(f"hf:{tmp_path}").eval()
    images = torch.rand(2, 3, 32, 32)
    side = encode_images(encoder, images, Domain.SKETCH)
    cams = token_gradcam(side, images, torch.randn(2, 16))
    assert cams.shape == (2, 4, 4)
    assert cams.abs().amax((1, 2)).min() > 0
    found = attention_rollout(encoder, images, Domain.SKETCH)
    assert found.shape == (2, 4, 4)
    # each row of a product of stochastic matrices sums to 1; the class token keeps the rest
    assert (found.sum((1, 2)) < 1).all()
    assert (found > 0).all()


def test_maps_by_region_sums_are_the_marginals_of_the_decomposition(spots, sketch, photos):
    ours, theirs = (
        encode_images(spots, sketch[None], Domain.SKETCH),
        encode_images(spots, photos, Domain.PHOTO),
    )
    maps = METHOD_MAPS["regions"](ours, theirs)
    scores = torch.cosine_similarity(ours.embedding, theirs.embedding)
    assert torch.allclose(maps.sketch.sum((1, 2)), scores, atol=1e-5)
    assert torch.allclose(maps.photo.sum((1, 2)), scores, atol=1e-5)
