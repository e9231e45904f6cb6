"""The last stages beside the features: which maps they are, and that nothing else changes."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from hundredfold.backbones.stages import WithStages, dimension_with_stages
from hundredfold.errors import SettingsError

#: Whether the last stage's map is what the features are the mean of, and so is not taken twice.
MODELS = {
    "resnet10t": True, "efficientnet_lite0": False, "convnext_atto": True, "mobilenetv3_small_050": True,
}


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(name, num_classes=0).eval()


@pytest.mark.parametrize(("name", "twice"), MODELS.items())
@torch.no_grad()
def test_features_come_first_then_the_means_of_each_map(name: str, twice: bool) -> None:
    model, images = network(name), torch.rand(2, 3, 64, 64)
    found = WithStages(model, 3)(images)
    torch.testing.assert_close(found[:, : model.num_features], model(images)[:, : model.num_features])
    assert found.shape[1] == dimension_with_stages(model, 3)
    features = model(images)
    maps = _maps(name, images)[-3:]
    expected = [features, *(one.mean((2, 3)) for one in (maps[:-1] if twice else maps))]
    torch.testing.assert_close(found, torch.cat(expected, dim=1))


def _maps(name: str, images: Tensor) -> list[Tensor]:
    """Timm's other way to the maps: a network made for nothing else, of the same weights."""
    maps = timm.create_model(name, features_only=True).eval()
    there = maps.state_dict()
    known = {
        own: value for key, value in network(name).state_dict().items()
        for own in (key, key.replace(".", "_", 1)) if own in there  # a list of layers has other names
    }
    maps.load_state_dict(known)
    return list(maps(images))


def test_every_layer_stays_in_the_mode_it_was_in() -> None:
    """As those of a teacher, which is not trained, and yet takes the statistics of each batch."""
    model = network("resnet10t")
    for layer in model.modules():
        layer.training = isinstance(layer, nn.BatchNorm2d)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    dimension_with_stages(model, 2)
    assert all(layer.training == isinstance(layer, nn.BatchNorm2d) for layer in model.modules())
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_too_many_stages_are_refused() -> None:
    with pytest.raises(SettingsError, match="expected a backbone of 9 stages or more, found 5 in ResNet"):
        WithStages(network("resnet10t"), 9)
    with pytest.raises(SettingsError, match="found 0 in Linear"):
        WithStages(nn.Linear(2, 2), 1)
