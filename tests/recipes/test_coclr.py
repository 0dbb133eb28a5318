"""CoCLR: who mines for whom and when, and that it learns on real photos and sketches."""

import math

import pytest
import torch
from subset_for_tests import mean_average_precision, subset
from tiny_for_tests import TINY_ENCODER

from ssl_sbir import recipes
from ssl_sbir.data.image_pack import prepare_pack
from ssl_sbir.data.manifest import Domain
from ssl_sbir.data.readers import open_data
from ssl_sbir.data.schedule import BatchSchedule
from ssl_sbir.data.training_set import TrainingSet
from ssl_sbir.encoders import (
    DomainCentredEncoder,
    ProjectedEncoder,
    TwoTowerEncoder,
    load_encoder,
    to_two_towers,
)
from ssl_sbir.errors import ConfigError
from ssl_sbir.training.pipeline import TrainingRequest, train


@pytest.fixture
def made(shapes):
    manifest = open_data(f"folder:{shapes}")
    data = TrainingSet.from_manifest(manifest, prepare_pack(manifest, 32), None, labelled=False)
    kind = recipes.load_recipe("coclr")
    recipe = kind(
        kind.Config(
            teacher_size=32,
            queue_size=24,
            projection_dim=8,
            embedding_dim=16,
            neighbours=3,
            own_key_mask_prob=0,
            mining_start=0.5,
        )
    )
    towers = TwoTowerEncoder(
        *(load_encoder("timm:test_efficientnet", size=32, pretrained=False) for _ in Domain)
    )
    model = recipe.build(towers, ())
    recipe.prepare(model, data)
    return recipe, model.train(), data


def test_positives_are_itself_and_the_neighbours_in_the_other_view_once_the_queue_is_full(made):
    recipe, model, _data = made
    draw = torch.Generator().manual_seed(1)
    unit = torch.nn.functional.normalize
    row, key = (
        torch.arange(6),
        dict(zip(Domain, unit(torch.randn(2, 6, 8, generator=draw), dim=2), strict=True)),
    )
    for progress in (0.2, 0.7):  # an empty queue mines nothing
        recipe.progress = progress
        found = recipe._positive_keys(model.view_queue, row, key, Domain.SKETCH)
        assert [set(p.nonzero()[:, 0].tolist()) for p in found] == [{0}] * 6
    model.view_queue.enqueue_keys(unit(torch.randn(2, 24, 8, generator=draw), dim=2), torch.arange(24) // 2)
    for progress in (0.2, 0.7):
        recipe.progress = progress
        for other in Domain:
            found = recipe._positive_keys(model.view_queue, row, key, other)
            for i in range(6):
                likeness = {j: float(key[other][i] @ model.view_queue.keys[other, j]) for j in range(24)}
                same = {j for j in range(24) if int(model.view_queue.row[j]) == i}
                nearest = (
                    sorted(likeness.keys() - same, key=lambda j: -likeness[j])[:3] if progress > 0.5 else []
                )
                assert set(found[i].nonzero()[:, 0].tolist()) == {0} | {1 + j for j in same | set(nearest)}


def test_both_views_learn_first_then_one_at_a_time_while_the_other_rests(made):
    recipe, model, data = made
    batch = data.read_batch(BatchSchedule.from_training_set(data, 8, 8, 0).rows_of_step(0)).to("cpu")
    named = []
    for progress in (0.0, 0.5, 0.6, 0.75, 0.99):
        recipe.progress = progress
        model.view_queue.fresh.fill_(99)
        model.zero_grad(set_to_none=True)
        terms = recipe.loss(model, batch)
        torch.stack(list(terms.values())).sum().backward()
        towers = model.uncentered_encoder.encoder
        learnt = [
            any(p.grad is not None for p in tower.parameters()) for tower in (towers.photo, towers.sketch)
        ]
        named.append(
            (
                set(terms),
                *learnt,
                model.view_queue.is_full,
                model.uncentered_encoder.linear.weight.grad is not None,
            )
        )
    photos, drawings = {"photos", "distillation"}, {"drawings", "sketch_contrast", "distillation"}
    assert named == [
        (photos | drawings, True, True, True, True),
        (photos, True, False, False, False),  # a turn begins: the keys are stale
        (photos, True, False, True, False),
        (drawings, False, True, False, False),
        (drawings, False, True, True, False),
    ]


def test_one_encoder_for_both_views_is_refused(shapes, tmp_path):
    with pytest.raises(ConfigError, match="each view"):
        train(
            TrainingRequest(
                "coclr",
                f"folder:{shapes}",
                tmp_path / "run",
                settings=("encoder.towers=shared", "teacher_size=32", "encoder.size=32"),
            ),
            "pretraining",
            str,
        )


def test_a_run_is_gone_on_with_in_the_form_it_has(shapes, tmp_path):
    small = (*TINY_ENCODER, "teacher_size=32",
             "batch.sketches=8", "batch.photos=8", "optim.max_steps=1", "edge_detector=sobel")  # fmt: skip
    data = f"folder:{shapes}"
    first = train(
        TrainingRequest("coclr", data, tmp_path / "first", settings=(*small, "embedding_dim=16")),
        "pretraining",
        str,
    )
    for code in (16, 8):
        order = TrainingRequest(
            "coclr", data, tmp_path / f"{code}", start=first.path, settings=(*small, f"embedding_dim={code}")
        )
        again = train(order, "pretraining", str).encoder()
        kinds = [type(part) for part in (again, again.encoder, again.encoder.encoder)]
        assert kinds == [DomainCentredEncoder, ProjectedEncoder, TwoTowerEncoder]
        assert again.width == code
        assert sum(isinstance(part, TwoTowerEncoder) for part in again.modules()) == 1


def test_a_shared_encoder_with_a_code_is_divided_below_it():
    inner = load_encoder("timm:test_efficientnet", size=32, pretrained=False)
    shared = DomainCentredEncoder(ProjectedEncoder(inner, torch.nn.Linear(inner.width, 8, bias=False))).eval()
    shared.update_domain_means(torch.randn(4, 8), torch.tensor([0, 1, 0, 1]))
    image, domain = torch.rand(4, 3, 32, 32), torch.tensor([0, 1, 0, 1])
    divided = to_two_towers(shared).eval()
    assert isinstance(divided.encoder.encoder, TwoTowerEncoder)
    assert to_two_towers(divided) is divided
    with torch.no_grad():
        torch.testing.assert_close(divided(image, domain), shared(image, domain))


def test_a_known_pairs_sketch_stands_in_for_the_pseudo_sketch(made):
    recipe, _model, data = made
    recipe.config = recipe.config.model_copy(
        update={"batch": recipe.config.batch.model_copy(update={"pairs": True})}
    )
    rows = torch.from_numpy(data.rows[Domain.SKETCH][:2]), torch.from_numpy(data.rows[Domain.PHOTO][:3])
    recipe.instance = torch.full((len(data.manifest),), -1)
    recipe.instance[rows[0][1]] = recipe.instance[rows[1][2]] = 5
    batch = data.read_batch(torch.cat(rows).numpy()).to("cpu")
    drawn = recipe._draw_photos(batch)
    torch.testing.assert_close(drawn[2], batch.image[1])
    assert not torch.allclose(drawn[0], batch.image[0])


def test_it_learns_on_real_photos_and_sketches(sketchy_mini, tmp_path):
    data = subset(sketchy_mini, tmp_path / "data", ("airplane", "apple", "bell", "cup"))
    settings = ("encoder.size=48", "teacher_size=48", "batch.photos=20", "batch.sketches=20", "queue_size=60", "mining_start=0.9",
                "turns=1", "edge_detector=sobel", "augment.min_crop_area=0.8", "augment.elastic=0", "augment.stroke_gaps=0",
                "augment.stroke_width=0", "optim.epochs=7", "optim.lr=1e-3")  # fmt: skip
    run = train(TrainingRequest("coclr", data, tmp_path / "run", settings=settings), "pretraining", str)
    last_alone = run.read_metrics()[2]  # step 30 of 35: one positive among 61 keys
    assert last_alone["photos"] < 0.8 * math.log(61)
    assert last_alone["drawings"] < 0.8 * math.log(61)
    before = mean_average_precision(load_encoder("efficientnet_lite0", size=48, fit="ink"), data)
    assert mean_average_precision(run.encoder(), data) > before
