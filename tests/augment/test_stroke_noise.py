"""Changes of lines: each drawing its own, paper stays paper, strength zero changes nothing."""

import torch

from ssl_sbir.augment.kornia_views import Augment
from ssl_sbir.augment.settings import AugmentConfig
from ssl_sbir.augment.stroke_noise import cut_stroke_gaps, deform_strokes, vary_stroke_width


def drawings(count=6, side=32):
    ink = torch.zeros(count, 3, side, side)
    ink[:, :, 8:24, 15:18] = 1
    return ink


def test_every_drawing_is_bent_its_own_way():
    bent = deform_strokes(drawings(), 0.03)
    assert all(not torch.allclose(bent[0], other) for other in bent[1:])
    assert 0.5 < bent.sum() / drawings().sum() < 2
    torch.testing.assert_close(deform_strokes(drawings(), 0.0), drawings(), atol=1e-4, rtol=0)


def test_lines_become_wider_and_thinner_but_never_vanish():
    torch.manual_seed(0)
    amount = vary_stroke_width(drawings(40), 1.0).sum((1, 2, 3)) / drawings(1).sum()
    assert amount.min() < 0.95
    assert amount.max() > 1.2
    line = torch.zeros(20, 1, 16, 16)
    line[:, :, 8, 2:14] = 1
    assert vary_stroke_width(line, 1.0)[:, 0, 8, 2:14].min() >= 0.5
    torch.testing.assert_close(vary_stroke_width(drawings(), 0.0), drawings())


def test_parts_of_lines_are_left_out_and_nothing_is_added():
    torch.manual_seed(0)
    page = torch.ones(30, 1, 24, 24)
    kept = cut_stroke_gaps(page, 1.0).mean((1, 2, 3))
    assert kept.max() > 0.9
    assert 0.7 < kept.min() < 0.85
    assert (cut_stroke_gaps(drawings(), 1.0) <= drawings()).all()
    torch.testing.assert_close(cut_stroke_gaps(page, 0.0), page)


def test_only_sketches_are_touched():
    still = AugmentConfig(flip=0, rotation=0, shift=0, zoom=0, elastic=0.05, stroke_width=1, stroke_gaps=1)
    image, domain = 1 - drawings(4), torch.tensor([0, 1, 0, 1])
    view = Augment(still)(image, domain)
    torch.testing.assert_close(view[1::2], image[1::2])
    assert not torch.allclose(view[::2], image[::2])
    assert view[:, :, 0, 0].min() > 0.99
