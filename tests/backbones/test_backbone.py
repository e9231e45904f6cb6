"""Backbones: one vector an image, at any size, normalised as their own weights expect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from hundredfold.backbones.backbone import create_backbone
from hundredfold.errors import SettingsError

TESTED = {
    "vit_tiny_patch16_224": 192,
    "xcit_nano_12_p16_224": 128,
    "efficientnet_lite0": 1280,
    "resnet10t": 512,
}


@pytest.mark.parametrize(("name", "dimension"), TESTED.items())
def test_every_kind_gives_one_vector_at_any_size(name: str, dimension: int) -> None:
    backbone = create_backbone(name, weights="none", drop_path=0.05)
    assert backbone.dimension == dimension
    assert backbone.training
    for size in (40, 72):
        images = backbone.normalise(torch.zeros(2, size, size, 3, dtype=torch.uint8))
        assert backbone(images).shape == (2, dimension)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet10t"])
def test_normalisation_is_the_backbones_own(name: str) -> None:
    backbone = create_backbone(name, weights="none")
    config = timm.get_pretrained_cfg(name)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), dtype=np.uint8)
    expected = (pixels / 255 - np.array(config.mean)) / np.array(config.std)
    found = backbone.normalise(torch.from_numpy(pixels))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected.transpose(0, 3, 1, 2), atol=1e-6)


def test_the_two_normalisations_differ() -> None:
    assert create_backbone("vit_tiny_patch16_224", weights="none").mean == (0.5, 0.5, 0.5)
    assert create_backbone("resnet10t", weights="none").mean == (0.485, 0.456, 0.406)


def test_a_vision_transformer_gives_what_timm_gives_at_its_own_size() -> None:
    backbone = create_backbone("vit_tiny_patch16_224", weights="none").eval()
    plain = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    plain.load_state_dict(backbone.model.state_dict())
    images = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(backbone(images), plain(images), atol=1e-5, rtol=1e-4)


def test_normalisation_is_no_weight() -> None:
    backbone = create_backbone("resnet10t", weights="none")
    assert all(key.startswith("model.") for key in backbone.state_dict())


def test_random_weights_are_a_function_of_the_seed() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(create_backbone("resnet10t", weights="none").state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_a_backbone_of_one_size_is_refused() -> None:
    with pytest.raises(SettingsError, match="does not take images of 64 and 96 px"):
        create_backbone("swin_tiny_patch4_window7_224", weights="none")


def test_an_option_the_model_lacks_is_refused() -> None:
    with pytest.raises(SettingsError, match="Set drop_path to 0"):
        create_backbone("vgg11", weights="none", drop_path=0.1)


@pytest.mark.parametrize(
    ("name", "hint"), [("resnet10x", "Did you mean .*resnet10t"), ("resnet10t.nope", "Known tags: c3_in1k")]
)
def test_an_unknown_name_is_refused_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=hint):
        create_backbone(name, weights="none")


def test_a_checkpoint_like_those_of_the_reference_loads(tmp_path: Path) -> None:
    """XCiT under ``backbone.*`` beside ``projection_head.*``, as IPMI-ICNS-UKE/sparsam saves them."""
    backbone = create_backbone("xcit_nano_12_p16_224", weights="none")
    saved = {f"backbone.{key}": value for key, value in backbone.model.state_dict().items()}
    torch.save(saved | {"projection_head.last_layer.weight_v": torch.ones(8, 4)}, tmp_path / "pretrained.pt")
    loaded = create_backbone("xcit_nano_12_p16_224", weights=str(tmp_path / "pretrained.pt"))
    assert all(torch.equal(loaded.model.state_dict()[k], v) for k, v in backbone.model.state_dict().items())
    assert loaded.source == "file:pretrained.pt"
