"""Maps: exact where a sum can be checked, turned with the image, and not blind to the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from hundredfold.backbones.backbone import create_backbone
from hundredfold.encode.encoder import Encoder, Symmetry
from hundredfold.encode.maps import _contributions, _feature_maps, place_maps
from hundredfold.encode.protocol import ConcatenatedEncoder
from hundredfold.encode.thumbnail import ThumbnailEncoder

NETWORKS = {
    "test_resnet": "activation", "test_efficientnet": "activation", "test_vit": "attention",
    "xcit_nano_12_p16_224": "attention",
}


def encoder_of(name: str, *, seed: int = 0, symmetry: Symmetry = "none", stages: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder(
        create_backbone(name, weights="none"), size=64, value_range=None, fit="pad", symmetry=symmetry,
        provenance={"method": "none"}, seen=frozenset(), stages=stages,
    )


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Bright discs off the centre of a dim noisy ground."""
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 60, (3, 64, 64, 3), dtype=np.uint8)
    y, x = np.mgrid[:64, :64]
    for number, centre in enumerate(((16, 16), (16, 48), (44, 20))):
        batch[number][(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 100] = (220, 60, 60)
    return batch


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("symmetry", ["none", "dihedral"])
def test_maps_are_shares_of_one_for_every_image(name: str, symmetry: Symmetry, images: np.ndarray) -> None:
    maps = place_maps(encoder_of(name, symmetry=symmetry), images)
    assert maps is not None
    assert maps.kind == NETWORKS[name]
    assert maps.shares.shape[0] == 3
    assert maps.shares.shape[1] == maps.shares.shape[2] > 1
    np.testing.assert_allclose(maps.shares.sum((1, 2)), 1, rtol=1e-4)


@pytest.mark.parametrize("about", [0.0, 1.0])
@pytest.mark.parametrize("stages", [0, 2])
def test_contributions_add_up_to_the_squared_distance_from_the_mean(
    stages: int, about: float, images: np.ndarray
) -> None:
    """test_resnet's features are the mean over its last map, and the stages' means stand beside them."""
    encoder = encoder_of("test_resnet", stages=stages)
    pixels = encoder.backbone.normalise(torch.from_numpy(images))
    with torch.inference_mode():
        mean = about * np.random.default_rng(0).random(encoder.dimension, dtype=np.float32)
        added = _contributions([_feature_maps(encoder.lean, pixels)], mean)[0]
    expected = ((encoder.encode(images) - mean) ** 2).sum(axis=1)
    np.testing.assert_allclose(added.sum((1, 2)).numpy(), expected, rtol=1e-3)


def test_contributions_of_the_views_add_up_to_that_of_their_mean(images: np.ndarray) -> None:
    encoder = encoder_of("test_resnet", symmetry="mirror")
    pixels = encoder.backbone.normalise(torch.from_numpy(images))
    with torch.inference_mode():
        views = [_feature_maps(encoder.lean, one) for one in (pixels, pixels.flip(3))]
        added = torch.stack(_contributions(views)).mean(0)
    expected = (encoder.encode(images) ** 2).sum(axis=1)
    np.testing.assert_allclose(added.sum((1, 2)).numpy(), expected, rtol=1e-3)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_the_map_turns_with_the_image(name: str, images: np.ndarray) -> None:
    encoder = encoder_of(name, symmetry="dihedral")
    plain, turned = (
        place_maps(encoder, np.ascontiguousarray(batch)).shares  # type: ignore[union-attr]
        for batch in (images, np.rot90(images, axes=(1, 2))[:, :, ::-1])
    )
    np.testing.assert_allclose(turned, np.rot90(plain, axes=(1, 2))[:, :, ::-1], rtol=2e-3, atol=1e-5)


def test_attention_is_what_timm_computes(images: np.ndarray) -> None:
    """The weights are those that timm's own layer multiplies the values by, where it does so step by step."""
    encoder = encoder_of("test_vit")
    model = encoder.lean
    layer = model.blocks[-1].attn  # type: ignore[union-attr, index]
    layer.fused_attn, seen = False, []
    layer.attn_drop.register_forward_pre_hook(lambda _layer, given: seen.append(given[0]))
    maps = place_maps(encoder, images)
    assert maps is not None
    own = seen[-1][:, :, 0, model.num_prefix_tokens:].mean(1).detach().numpy()  # type: ignore[misc]
    np.testing.assert_allclose(maps.shares.reshape(3, -1), own / own.sum(1, keepdims=True), rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_map_depends_on_the_weights(name: str, images: np.ndarray) -> None:
    """Adebayo et al. 2018, section 3: a map that stays when the weights are drawn anew explains nothing."""
    maps = []
    for seed in (0, 0, 1):
        encoder = encoder_of(name, seed=seed)
        found = place_maps(encoder, images, encoder.encode(images).mean(axis=0))
        assert found is not None
        maps.append(found.shares.reshape(3, -1))
    first, same, other = maps
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).sum(axis=1).min() > 1e-3
    alike = [spearmanr(a, b).statistic for a, b in zip(first, other, strict=True)]
    assert np.mean(alike) < 0.8


def test_encoders_side_by_side_give_the_mean_of_their_maps(images: np.ndarray) -> None:
    parts = [encoder_of("test_resnet", seed=0), encoder_of("test_resnet", seed=1)]
    together = ConcatenatedEncoder([*parts, ThumbnailEncoder()])
    means = [part.encode(images).mean(axis=0) for part in together.parts]
    both = place_maps(together, images, np.concatenate(means))
    alone = [place_maps(part, images, mean) for part, mean in zip(parts, means, strict=False)]
    assert both is not None
    expected = np.mean([one.shares for one in alone], axis=0)  # type: ignore[union-attr]
    np.testing.assert_allclose(both.shares, expected, rtol=1e-5)


def test_thumbnails_have_no_map(images: np.ndarray) -> None:
    assert place_maps(ThumbnailEncoder(), images) is None
