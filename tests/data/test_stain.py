"""Colours brought to those of the training images: the mathematics, and what cannot be measured."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hundredfold.data.smear import draw_smear
from hundredfold.data.stain import Reference, Stain, StainMethod, colours
from hundredfold.errors import InputError

METHODS: tuple[StainMethod, ...] = ("white", "reinhard")
#: Some reference.
PINK = {"white": (220.0, 200.0, 190.0), "reinhard": (70.0, 8.0, 2.0, 9.0, 4.0, 5.0)}
images = arrays(np.uint8, (9, 11, 3), elements=st.integers(0, 255))


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray[Any, Any]:
    """Forty cells uint8 [40,48,48,3], whose glass is nowhere saturated."""
    folder = draw_smear(tmp_path_factory.mktemp("smear"), images=40, size=48, seed=3)
    paths = sorted((folder / "images").rglob("*.jpg"))
    return np.stack([(read(path) * 0.7).astype(np.uint8) for path in paths])


def read(path: Path) -> np.ndarray[Any, Any]:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR_RGB))


def lab_of(rgb: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """sRGB from 0 to 255 → CIE L*a*b* for D65, by the formulas of IEC 61966-2-1 and CIE 15."""
    shares = rgb.astype(np.float64) / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / to_xyz.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([
        116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])
    ], axis=-1)


@given(images)
def test_the_glass_is_the_95th_percentile(image: np.ndarray[Any, Any]) -> None:
    found = colours("white", image)
    expected = np.percentile(image.reshape(-1, 3), 95, axis=0, method="inverted_cdf")
    if found is not None:
        np.testing.assert_array_equal(found, expected)
    else:
        assert expected.min() < 32 or np.ptp(image, axis=2).max() <= 6 or image.std() < 80


def test_means_and_spreads_are_those_of_cielab(cells: np.ndarray[Any, Any]) -> None:
    for image in cells[:10]:
        lab = lab_of(image).reshape(-1, 3)
        found = colours("reinhard", image)
        assert found is not None
        np.testing.assert_allclose(found, [*lab.mean(axis=0), *lab.std(axis=0)], atol=0.1)


def test_reinhard_gives_the_means_and_spreads_of_the_reference(cells: np.ndarray[Any, Any]) -> None:
    """Where a spread need not change more than threefold, and no colour leaves what a screen can show."""
    own = np.array([colours("reinhard", image) for image in cells])
    stain = Stain("reinhard", (58.0, 9.0, -4.0, 12.0, 5.0, 6.0))
    near = (own[:, 3:] > np.array(stain.reference[3:]) / 2).all(axis=1)
    assert near.sum() > 20
    found = [colours("reinhard", image) for image in stain.apply(cells[near])]
    np.testing.assert_allclose(found, len(found) * [stain.reference], atol=0.5)


def test_white_is_a_shift_of_optical_density_in_each_channel(cells: np.ndarray[Any, Any]) -> None:
    changed = Stain("white", (200.0, 190.0, 180.0)).apply(cells)
    for image, other in zip(cells, changed, strict=True):
        bright = (image > 40).all(axis=2) & (other < 255).all(axis=2)
        shift = np.log(other[bright].astype(float)) - np.log(image[bright].astype(float))
        assert np.ptp(shift, axis=0).max() < 0.05


@pytest.mark.parametrize("method", METHODS)
def test_an_image_with_the_colours_of_the_reference_stays_as_it_is(
    method: StainMethod, cells: np.ndarray[Any, Any]
) -> None:
    for image in cells:
        own = colours(method, image)
        assert own is not None
        again = Stain(method, tuple(own)).apply(image[None])[0]
        assert np.abs(again.astype(int) - image).max() <= 1


@pytest.mark.parametrize("method", METHODS)
def test_to_normalise_twice_is_to_normalise_once(method: StainMethod, cells: np.ndarray[Any, Any]) -> None:
    stain = Reference.of(method, cells).stain
    once = stain.apply(cells)
    assert np.abs(stain.apply(once).astype(int) - once).mean() <= 0.5


@pytest.mark.parametrize(("method", "levels"), [("white", 1.0), ("reinhard", 7.0)])
@pytest.mark.parametrize("cast", [*itertools.product((0.75, 1.3), repeat=3)])
def test_a_colour_cast_on_one_smear_is_undone(
    method: StainMethod, levels: float, cells: np.ndarray[Any, Any], cast: tuple[float, float, float]
) -> None:
    """Another lamp: each channel times a factor, which moves the pixels by 30 levels and more."""
    stain = Reference.of(method, cells[:20]).stain
    other = np.rint(np.clip(cells[20:] * np.array(cast), 0, 255)).astype(np.uint8)
    assert np.abs(other.astype(int) - cells[20:]).mean() > 30
    assert np.abs(stain.apply(other).astype(int) - stain.apply(cells[20:])).mean() <= levels


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("turns", range(4))
def test_a_turned_image_is_normalised_alike(
    method: StainMethod, turns: int, cells: np.ndarray[Any, Any]
) -> None:
    stain = Stain(method, PINK[method])
    turned = np.ascontiguousarray(np.rot90(cells[:5], turns, axes=(1, 2)))
    difference = stain.apply(turned).astype(int) - np.rot90(stain.apply(cells[:5]), turns, axes=(1, 2))
    assert np.abs(difference).max() <= 1  # sums in another order


def plain_images() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (16, 16, 1), np.uint8), 3, axis=2)
    return {
        "white": np.full((16, 16, 3), 255, np.uint8), "black": np.zeros((16, 16, 3), np.uint8),
        "grey level": np.full((16, 16, 3), 128, np.uint8),
        "one colour": np.full((16, 16, 3), (200, 90, 140), np.uint8), "greyscale": grey,
        "dark": (rng.integers(0, 28, (16, 16, 3))).astype(np.uint8),
    }


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", plain_images())
def test_what_has_no_colour_light_or_contrast_stays_as_it_is(method: StainMethod, kind: str) -> None:
    image = plain_images()[kind]
    stain = Stain(method, PINK[method])
    assert colours(method, image) is None
    np.testing.assert_array_equal(stain.apply(image[None])[0], image)


@settings(max_examples=50, deadline=None)
@given(arrays(np.uint8, (2, 6, 7, 3)))
@pytest.mark.parametrize("method", METHODS)
def test_whatever_the_pixels_are_numbers_come_out(method: StainMethod, image: np.ndarray[Any, Any]) -> None:
    """Warnings are errors here, so nothing divides by zero or casts NaN."""
    stain = Stain(method, (255.0, 33.0, 128.0) if method == "white" else (99.0, 90.0, -90.0, 40.0, 0.0, 30.0))
    changed = stain.apply(image)
    assert (changed.shape, changed.dtype) == (image.shape, np.uint8)


@pytest.mark.parametrize("method", METHODS)
def test_a_set_without_colour_is_refused(method: StainMethod, cells: np.ndarray[Any, Any]) -> None:
    grey = [cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) for image in cells]
    with pytest.raises(InputError, match=r"30 of 40 training images .* no colour"):
        Reference.of(method, [*grey[:30], *cells[30:]])
    some = Reference.of(method, [*grey[:10], *cells[10:]])
    assert (some.looked, some.measured) == (40, 30)
    with pytest.raises(InputError, match="0 of 0"):
        Reference.of(method, [])


@pytest.mark.parametrize("method", METHODS)
def test_the_reference_is_the_median_and_survives_json(
    method: StainMethod, cells: np.ndarray[Any, Any]
) -> None:
    stain = Reference.of(method, cells).stain
    every = np.array([colours(method, image) for image in cells])
    np.testing.assert_allclose(stain.reference, np.median(every, axis=0), atol=0.0051)
    assert Stain.read(stain.facts) == stain
    assert Stain.read(None) is None


def test_other_methods_are_refused() -> None:
    for facts in ({"method": "macenko", "reference": [1, 2, 3]}, {"method": "white", "reference": [1.0]}):
        with pytest.raises(InputError, match="expected the stain white or reinhard"):
            Stain.read(facts)


def test_real_smears_of_another_lamp_come_nearer(shared: Path) -> None:
    """Groups of red cells differ less in the colour of their glass, and of the cells, than before."""
    import pandas as pd

    folder = shared / "data" / "chula_rbc"
    if not folder.is_dir():
        pytest.skip("needs chula_rbc")
    labels = pd.read_csv(folder / "labels.csv")
    some = labels.groupby("group").head(1).iloc[::10]
    cells = np.stack([read(folder / "images" / name) for name in some["image"]])
    for method in METHODS:
        changed = Reference.of(method, cells).stain.apply(cells)
        spread = [pixels.mean(axis=(1, 2)).std(axis=0).mean() for pixels in (cells, changed)]
        assert spread[1] < spread[0] / 2
