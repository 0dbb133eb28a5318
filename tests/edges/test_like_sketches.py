"""Drawings of photos that look more like sketches: what is looked at alone, at a sketch's size."""

import numpy as np
import torch

from ssl_sbir.data.decode_image import INK_SIDE
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.edges.ink_framing import normalize_ink_framing
from ssl_sbir.edges.pseudo_sketches import PseudoSketcher
from ssl_sbir.edges.teacher_attention import ClassActivationMaps, features_and_cams
from ssl_sbir.encoders import load_encoder


def rings(shapes):
    manifest = open_data(f"folder:{shapes}")
    return TrainingSet.from_manifest(manifest, prepare_pack(manifest, 64), None, labelled=False)


def test_a_frame_is_laid_about_the_ink_and_stray_specks_do_not_count():
    ink = torch.zeros(3, 1, 100, 100)
    ink[0, 0, 10:50, 20:50] = 1
    ink[1] = ink[0]
    ink[1, 0, 99, 99] = 1
    found = normalize_ink_framing(ink)
    for page in found[:2]:
        rows, columns = (page[0] > 0.5).nonzero(as_tuple=True)
        assert abs(int(rows.max() - rows.min()) + 1 - INK_SIDE * 100) <= 6
        assert abs((rows.max() + rows.min()).item() / 2 - 50) <= 3
        assert abs((columns.max() + columns.min()).item() / 2 - 50) <= 3
    assert not found[2].any()


def test_the_teacher_s_answers_come_from_where_the_maps_say(shapes):
    data, teacher = rings(shapes), load_encoder("efficientnet_lite0", size=64)
    head = teacher.classifier()
    features, attention = features_and_cams(teacher, head, data)
    rows = data.rows[Domain.PHOTO]
    assert attention.maps.amin((1, 2)).abs().max() == 0
    torch.testing.assert_close(attention.maps.amax((1, 2)), torch.ones(len(rows)))
    assert attention.photo_index[torch.from_numpy(rows)].tolist() == list(range(len(rows)))
    image = data.read_batch(rows[:2]).to("cpu").image
    with torch.no_grad():
        places = teacher.feature_map(image, torch.ones(2, dtype=torch.int64))
    torch.testing.assert_close(features[:2], places.mean((2, 3)), atol=1e-4, rtol=1e-3)
    answer = head(places.mean((2, 3))).softmax(1).detach()
    for n in range(2):
        slow = torch.stack(
            [
                torch.stack([(answer[n] * (head.weight @ places[n, :, y, x])).sum() for x in range(2)])
                for y in range(2)
            ]
        ).detach()
        slow = (slow - slow.min()) / (slow.max() - slow.min())
        torch.testing.assert_close(attention.maps[n], slow, atol=1e-3, rtol=1e-2)


def test_only_what_is_looked_at_is_drawn_and_the_pages_repeat(shapes):
    data = rings(shapes)
    rows = data.rows[Domain.PHOTO]
    maps = torch.zeros(len(rows), 8, 8)
    maps[:, :4] = 1
    place = torch.full((len(data.manifest),), -1)
    place[torch.from_numpy(rows)] = torch.arange(len(rows))
    whole = PseudoSketcher.for_training_set("sobel", data, "cpu")
    upper = whole.with_sketch_style(ClassActivationMaps(maps, place, "half"), 1.0, 0.0)
    batch = data.read_batch(np.concatenate([rows[:6], data.rows[Domain.SKETCH][:2]])).to("cpu")
    page = upper(batch)
    assert page.shape == (6, 3, 64, 64)
    assert (page[:, :, 40:] == 1).all()
    torch.testing.assert_close(page[:, :, :24], whole(batch)[:, :, :24])
    assert upper(batch, side=96).shape == (6, 3, 96, 96)
    first, again = (torch.cat(list(upper.render_photos(data, 32, seed=3))) for _ in range(2))
    assert first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert upper.cache_key(data) != whole.cache_key(data)


def test_a_teacher_whose_feature_is_no_mean_of_its_map_answers_by_its_feature(shapes):
    data = rings(shapes)
    teacher = load_encoder("timm:test_vit", size=64, pretrained=False).eval()
    features, attention = features_and_cams(teacher, torch.nn.Linear(teacher.width, 10), data)
    image = data.read_batch(data.rows[Domain.PHOTO][:3]).to("cpu").image
    domain = torch.ones(3, dtype=torch.int64)
    with torch.no_grad():
        torch.testing.assert_close(features[:3], teacher(image, domain), atol=1e-4, rtol=1e-3)
        assert not torch.allclose(teacher.feature_map(image, domain).mean((2, 3)), features[:3], atol=1e-2)
    assert attention.maps.shape[1:] == (4, 4)
