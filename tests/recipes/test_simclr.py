"""SimCLR: its loss is lightly's, its chance value is ln(2B - 1), and it learns."""

import math

import torch
from lightly.loss import NTXentLoss

from ssl_sbir import recipes
from ssl_sbir.data.batches import Batch
from ssl_sbir.encoders import load_encoder
from ssl_sbir.training.pipeline import TrainingRequest, train

TINY = "timm:test_efficientnet"


def batch(sketches=4, photos=6):
    n = sketches + photos
    domain = torch.tensor([0] * sketches + [1] * photos)
    return Batch(torch.rand(n, 3, 32, 32), domain, torch.full((n,), -1), torch.arange(n))


def recipe(**settings):
    kind = recipes.load_recipe("simclr")
    return kind(kind.Config(projection_dim=16, **settings))


def test_the_loss_is_lightlys_within_each_domain():
    simclr, data = recipe(), batch()
    model = simclr.build(load_encoder(TINY, size=32, pretrained=False), ()).eval()
    torch.manual_seed(3)
    loss = simclr.loss(model, data)["contrast"]
    torch.manual_seed(3)
    views = [model(simclr.augment(data.image, data.domain), data.domain) for _ in range(2)]
    ntxent = NTXentLoss(temperature=0.1)
    expected = (ntxent(views[0][:4], views[1][:4]) + ntxent(views[0][4:], views[1][4:])) / 2
    torch.testing.assert_close(loss, expected)


def test_own_sketches_replace_the_second_view_of_photos_only():
    simclr, data = (
        recipe(pseudo_sketch_view=True, augment={"flip": 0, "rotation": 0, "shift": 0, "zoom": 0}),
        batch(),
    )
    (first, own), (image, domain) = simclr.sample_views(data)
    torch.testing.assert_close(first, data.image)
    assert torch.equal(own, data.domain)
    assert (domain == 0).all()
    torch.testing.assert_close(image[:4], data.image[:4])
    drawn = image[4:]
    torch.testing.assert_close(drawn[:, 0], drawn[:, 1])


def test_training_brings_the_loss_far_below_chance(shapes, tmp_path):
    # The drawn shapes differ by place and size, which the fit `ink` takes away.
    settings = ("encoder.size=32", "encoder.fit=squash", "batch.sketches=16", "batch.photos=16")
    settings = (*settings, "optim.epochs=6", "optim.lr=8e-3")
    run = train(
        TrainingRequest("simclr", f"folder:{shapes}", tmp_path / "run", settings=settings), "pretraining", str
    )
    chance = math.log(2 * 16 - 1)
    assert run.read_metrics()[-1]["contrast"] < 0.8 * chance
