"""A folded model gives what the model gives, whatever it is made of."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hundredfold.backbones.backbone import create_backbone
from hundredfold.backbones.folding import folded

NAMES = ("resnet10t", "test_efficientnet.r160_in1k", "test_vit.r160_in1k", "xcit_nano_12_p16_224")


def trained(name: str) -> nn.Module:
    """A model whose BatchNorm statistics and weights are not those of a new layer."""
    torch.manual_seed(0)
    model = create_backbone(name, weights="none").model.train()
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 2)
                layer.bias.normal_()
        for _ in range(3):
            model(torch.randn(8, 3, 64, 64) * 2 + 1)
    return model


@pytest.mark.parametrize("name", NAMES)
def test_outputs_stay_the_same_and_the_model_untouched(name: str) -> None:
    model = trained(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    images = torch.randn(3, 3, 96, 80)
    lean = folded(model)
    assert model.training
    assert not lean.training
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    expected = model.eval()(images).detach()
    torch.testing.assert_close(lean(images), expected, atol=2e-4 * float(expected.std()), rtol=1e-3)


@pytest.mark.parametrize("name", NAMES[:2])
def test_no_batchnorm_behind_a_convolution_is_left(name: str) -> None:
    model = trained(name)
    counts = [
        sum(isinstance(layer, nn.BatchNorm2d) for layer in one.modules()) for one in (model, folded(model))
    ]
    assert counts[0] > 5
    assert counts[1] == 0


class Shared(nn.Module):
    """A convolution whose output is used beside its BatchNorm: folding it would change what is given."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.norm.running_mean.fill_(2.0)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.conv(images)
        return (found + self.norm(found)).mean(dim=(2, 3))


def test_a_model_that_folding_would_change_is_copied_as_it_is() -> None:
    model, images = Shared().eval(), torch.randn(2, 3, 20, 20)
    torch.testing.assert_close(folded(model)(images), model(images).detach())
    assert isinstance(folded(model).get_submodule("norm"), nn.BatchNorm2d)


def test_a_model_in_float64_stays_in_it() -> None:
    model, images = trained("resnet10t").double().eval(), torch.randn(2, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(folded(model)(images), model(images).detach(), rtol=1e-9, atol=1e-9)


def test_weights_that_are_not_finite_stay_so() -> None:
    model = trained("resnet10t").eval()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    assert folded(model)(torch.randn(1, 3, 64, 64)).isnan().all()
