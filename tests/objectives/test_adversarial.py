"""The reversed gradient, its ramp, and the domain loss against a loop."""

import math

import pytest
import torch
from torch import nn

from ssl_sbir.objectives.adversarial import domain_adversarial_loss, reverse_gradient
from ssl_sbir.objectives.weight_ramp import linear_ramp


def test_only_the_gradient_is_reversed():
    code = torch.randn(4, 3, requires_grad=True)
    out = reverse_gradient(code, 0.5)
    assert torch.equal(out, code)
    weights = torch.randn(4, 3)
    (out * weights).sum().backward()
    torch.testing.assert_close(code.grad, -0.5 * weights)


@pytest.mark.parametrize(("epoch", "strength"), [(0.0, 0), (5.0, 0), (15.0, 0.5), (25.0, 1), (40.0, 1)])
def test_the_ramp_is_the_published_one(epoch, strength):
    assert linear_ramp(epoch, 5.0, 25.0) == strength


def test_the_discriminator_learns_and_the_encoder_unlearns():
    torch.manual_seed(0)
    discriminator, code = nn.Linear(3, 1), torch.randn(4, 3, requires_grad=True)
    domain = torch.tensor([0, 1, 0, 1])
    loss = domain_adversarial_loss(discriminator, code, domain, 1.0)
    slow = 0.0
    for i in range(4):
        chance = 1 / (1 + math.exp(-discriminator(code[i]).item()))
        slow -= math.log(chance if domain[i] == 1 else 1 - chance) / 4
    assert loss.item() == pytest.approx(slow, rel=1e-5)
    loss.backward()
    with torch.no_grad():
        worse = domain_adversarial_loss(discriminator, code - 0.1 * code.grad, domain, 1.0)
        for parameter in discriminator.parameters():
            parameter -= 0.1 * parameter.grad
        better = domain_adversarial_loss(discriminator, code, domain, 1.0)
    assert better < loss < worse
