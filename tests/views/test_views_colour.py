"""Colour against PIL and torchvision's steps one after the other, and by its laws."""

from __future__ import annotations

from colorsys import rgb_to_hsv

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import gaussian_filter
from torchvision.transforms.v2 import functional as F

from hundredfold.views import colour

#: a busy machine is no fault of the views.
untimed = settings(deadline=None)

GENERATOR = np.random.default_rng(0)
NOISE = GENERATOR.integers(0, 256, (48, 40, 3), dtype=np.uint8)
#: far from both ends, so that no step clips.
MIDDLE = GENERATOR.integers(100, 140, (48, 40, 3), dtype=np.uint8)

factors = st.floats(0.6, 1.4)
turns = st.floats(-0.5, 0.5)


def ours(pixels, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0):
    one = (np.array([value]) for value in (brightness, contrast, saturation, hue))
    matrices, pulls = colour.colour_matrices(*one)
    return colour.apply_colour(pixels, matrices[0], float(pulls[0]))


def stepwise(pixels, brightness=1.0, contrast=1.0, saturation=1.0, hue=0.0):
    """torchvision, step by step, clipped after each and never rounded."""
    image = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float64) / 255)
    image = F.adjust_brightness(image, brightness)
    image = F.adjust_contrast(image, contrast)
    image = F.adjust_saturation(image, saturation)
    image = F.adjust_hue(image, hue) if hue else image
    return image.numpy().transpose(1, 2, 0) * 255


def jitters(hue, count):
    draws = np.random.default_rng(2).uniform(-1, 1, (count, 4)) * [0.4, 0.4, 0.2, hue]
    return draws + np.array([1, 1, 1, 0])


@pytest.fixture(scope="module")
def cells(shared):
    paths = sorted((shared / "data" / "pbc_blood_cells" / "images").rglob("*.jpg"))[::500]
    assert len(paths) > 10
    return [np.asarray(Image.open(path).convert("RGB")) for path in paths]


def test_nothing_to_do_does_nothing():
    assert np.array_equal(ours(NOISE), NOISE)


@pytest.mark.parametrize("factor", [0.6, 0.9, 1.4])
@pytest.mark.parametrize(
    ("step", "enhance"),
    [
        ("brightness", ImageEnhance.Brightness),
        ("contrast", ImageEnhance.Contrast),
        ("saturation", ImageEnhance.Color),
    ],
)
def test_each_step_alone_is_pils(step, enhance, factor):
    expected = np.asarray(enhance(Image.fromarray(NOISE)).enhance(factor)).astype(int)
    # PIL rounds the mean grey, the grey of a pixel and the result, each time down
    assert np.abs(ours(NOISE, **{step: factor}) - expected).max() <= 2


def test_greyscale_is_pils():
    expected = np.asarray(ImageOps.grayscale(Image.fromarray(NOISE))).astype(int)
    assert np.abs(ours(NOISE, saturation=0.0) - expected[..., None]).max() <= 1


@untimed
@given(st.floats(0.9, 1.1), st.floats(0.8, 1.2), st.floats(0.8, 1.2))
def test_without_hue_and_clipping_one_matrix_is_the_steps(brightness, contrast, saturation):
    expected = stepwise(MIDDLE, brightness, contrast, saturation)
    assert np.abs(ours(MIDDLE, brightness, contrast, saturation) - expected).max() < 1


@pytest.mark.parametrize(("hue", "bound"), [(0.0, 1.5), (0.03, 3.0), (0.1, 8.0)])
def test_deviation_from_the_steps_on_real_cells_is_as_documented(cells, hue, bound):
    draws = jitters(hue, len(cells))
    deviations = [
        np.abs(ours(cell, *draw) - stepwise(cell, *draw)).mean()
        for cell, draw in zip(cells, draws, strict=True)
    ]
    assert np.mean(deviations) < bound


@pytest.mark.parametrize("hue", [-0.1, -0.03, 0.03, 0.1])
def test_hue_turns_the_hue_of_hsv_by_what_was_asked_on_average(hue):
    (matrix,), _ = colour.colour_matrices(*(np.array([v]) for v in (1.0, 1.0, 1.0, hue)))
    before = np.random.default_rng(3).uniform(0.4, 0.6, (2000, 3))
    found = [
        (rgb_to_hsv(*changed)[0] - rgb_to_hsv(*pixel)[0] + 0.5) % 1 - 0.5
        for pixel, changed in zip(before, before @ matrix.T, strict=True)
    ]
    assert np.mean(found) == pytest.approx(hue, rel=0.1)
    low, high = np.percentile(np.array(found) / hue, [5, 95])
    assert 0.6 < low < high < 1.55


@untimed
@given(factors, factors, factors, turns)
def test_hue_and_saturation_leave_the_grey_of_every_pixel(brightness, contrast, saturation, hue):
    (matrix,), _ = colour.colour_matrices(*(np.array([v]) for v in (brightness, contrast, saturation, hue)))
    np.testing.assert_allclose(colour.LUMA @ matrix, brightness * contrast * colour.LUMA, atol=1e-9)


@untimed
@given(factors, factors, factors, turns)
def test_grey_stays_grey_and_the_mean_grey_only_brightens(brightness, contrast, saturation, hue):
    (matrix,), (pull,) = colour.colour_matrices(
        *(np.array([v]) for v in (brightness, contrast, saturation, hue))
    )
    grey = np.full(3, 80.0)
    np.testing.assert_allclose(matrix @ grey + pull * 80.0, brightness * grey)


@untimed
@given(turns, turns)
def test_hues_add_up(one, other):
    still = np.ones(1)
    (a,), (b,), (both,) = (
        colour.colour_matrices(still, still, still, np.array([h]))[0] for h in (one, other, one + other)
    )
    np.testing.assert_allclose(a @ b, both, atol=1e-9)


@untimed
@given(factors, factors, factors, turns)
def test_a_value_is_rounded_once_to_less_than_a_grey_level(brightness, contrast, saturation, hue):
    (matrix,), (pull,) = colour.colour_matrices(
        *(np.array([v]) for v in (brightness, contrast, saturation, hue))
    )
    exact = NOISE @ matrix.T + pull * (NOISE @ colour.LUMA).mean()
    assert np.abs(np.clip(exact, 0, 255) - colour.apply_colour(NOISE, matrix, float(pull))).max() < 0.9


@pytest.mark.parametrize("sigma", [0.05, 0.4, 0.9, 1.7, 3.0])
def test_blur_is_scipys(sigma):
    radius = max(1, int(np.ceil(3 * sigma)))
    expected = gaussian_filter(
        NOISE.astype(float), sigma, mode="mirror", axes=(0, 1), radius=(radius, radius)
    )
    assert np.abs(colour.blur(NOISE, sigma, reach=99) - expected).max() <= 0.51


def test_blur_ends_where_it_is_told():
    dot = np.zeros((31, 31, 3), np.uint8)
    dot[15, 15] = 255
    seen = colour.blur(dot, sigma=4.0, reach=3.0).any(axis=2)
    assert np.flatnonzero(seen.any(axis=0)).tolist() == [12, 13, 14, 15, 16, 17, 18]


@untimed
@given(st.integers(0, 255), st.floats(0.01, 5))
def test_blur_leaves_an_even_area_as_it_is(value, sigma):
    even = np.full((20, 20, 3), value, np.uint8)
    assert np.array_equal(colour.blur(even, sigma, reach=99), even)


def test_solarise_is_pils():
    assert np.array_equal(colour.solarise(NOISE), np.asarray(ImageOps.solarize(Image.fromarray(NOISE), 128)))
