"""Geometry against torchvision's steps one after the other, against plain algebra, and by its laws."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.stats import kstest
from torchvision.transforms.v2 import functional as F

from hundredfold.views import geometry
from hundredfold.views.geometry import CORNERS, Pyramid

#: a busy machine is no fault of the views.
untimed = settings(deadline=None)

NOISE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
#: no structure finer than several pixels, so that one resampling and four agree.
SMOOTH = cv2.resize(NOISE[:9, :9], (120, 120), interpolation=cv2.INTER_CUBIC)
WHOLE = np.array([[32.0, 32.0, 64.0, 64.0]])
STILL = np.zeros((1, 4, 2))
UPRIGHT = np.ones((1, 2))

moves = st.lists(st.floats(-0.45, 0.45), min_size=8, max_size=8).map(lambda v: np.reshape(v, (1, 4, 2)))
angles = st.floats(-np.pi, np.pi)
signs = st.tuples(st.sampled_from([-1.0, 1.0]), st.sampled_from([-1.0, 1.0]))


def crop(flips=(1, 1), radians=0.0):
    homography = geometry.crop_homographies(WHOLE, np.array([flips]), np.array([radians]), STILL)[0]
    return geometry.warp(Pyramid(NOISE), homography, 64)


def at(homography, points):
    """Where a homography carries points ``[n, 2]``."""
    walked = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return walked[:, :2] / walked[:, 2:]


def solved(quad):
    """The homography from the frame to a quadrilateral, by eight linear equations (no closed form)."""
    rows, right = [], []
    for (u, v), (x, y) in zip(CORNERS, quad, strict=True):
        rows += [[u, v, 1, 0, 0, 0, -u * x, -v * x], [0, 0, 0, u, v, 1, -u * y, -v * y]]
        right += [x, y]
    return np.append(np.linalg.solve(np.array(rows), np.array(right)), 1).reshape(3, 3)


def test_the_whole_image_at_its_own_size_is_the_image():
    assert np.array_equal(crop(), NOISE)


@pytest.mark.parametrize(
    ("flips", "radians", "expected"),
    [
        ((-1, 1), 0.0, NOISE[:, ::-1]),
        ((1, -1), 0.0, NOISE[::-1]),
        ((-1, -1), 0.0, NOISE[::-1, ::-1]),
        ((1, 1), np.pi / 2, np.rot90(NOISE)),
        ((1, 1), -np.pi / 2, np.rot90(NOISE, -1)),
        ((-1, 1), np.pi / 2, np.rot90(NOISE)[:, ::-1]),
    ],
)
def test_flips_and_quarter_turns_move_pixels_and_nothing_else(flips, radians, expected):
    assert np.array_equal(crop(flips, radians), expected)


@untimed
@given(moves)
def test_a_quadrilaterals_homography_is_the_solution_of_its_equations(offsets):
    quad = CORNERS + offsets
    found = geometry.quad_homographies(quad)[0]
    np.testing.assert_allclose(found, solved(quad[0]), atol=1e-9)
    np.testing.assert_allclose(at(np.linalg.inv(found), quad[0]), CORNERS, atol=1e-9)


@untimed
@given(moves, angles, signs)
def test_a_point_walks_through_the_steps_of_a_crop(offsets, radians, flips):
    box = np.array([[70.0, 40.0, 60.0, 50.0]])
    found = geometry.crop_homographies(box, np.array([flips]), np.array([radians]), offsets)[0]
    points = np.array([[0, 0], [1, 1], [-0.5, 0.25], [0.9, -1]])
    tilted = at(solved((CORNERS + offsets)[0]), points * flips) * [30, 25]
    # y points down, so that e^(+i a) turns the place, and thereby what is seen the other way
    turned = (tilted[:, 0] + 1j * tilted[:, 1]) * np.exp(1j * radians)
    np.testing.assert_allclose(at(found, points), np.column_stack([turned.real + 70, turned.imag + 40]))


@settings(untimed, max_examples=25)
@given(
    st.lists(st.floats(0, 0.4), min_size=8, max_size=8), angles, signs,
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(60, 80)),
)
def test_one_warp_shows_what_torchvision_shows_step_by_step(inwards, radians, flips, square):
    """Perspective, rotation, crop with resizing and flips: four resamplings there, one here."""
    left, top, side = square
    offsets = -CORNERS * np.reshape(inwards, (1, 4, 2))
    box = np.array([[left + side / 2, top + side / 2, side, side]])
    homography = geometry.image_homographies(
        box, np.array([flips]), np.array([radians]), offsets, (120, 120)
    )[0]
    found = geometry.warp(Pyramid(SMOOTH), homography, 90, "black").astype(float)

    steps = torch.from_numpy(SMOOTH.transpose(2, 0, 1).astype(np.float32))
    steps = torch.cat([steps, torch.full_like(steps[:1], 255)])  # the fourth channel: where there is image
    there = ((CORNERS + 1) * 60).tolist()
    steps = F.perspective(steps, there, ((CORNERS + offsets + 1) * 60)[0].tolist())
    steps = F.rotate(steps, np.rad2deg(radians), F.InterpolationMode.BILINEAR)
    steps = F.resized_crop(steps, top, left, side, side, [90, 90], antialias=False)
    steps = F.horizontal_flip(steps) if flips[0] < 0 else steps
    steps = F.vertical_flip(steps) if flips[1] < 0 else steps
    expected = steps.numpy().transpose(1, 2, 0)

    inside = cv2.erode((expected[..., 3] > 254.9).astype(np.uint8), np.ones((5, 5))) > 0
    outside = cv2.erode((expected[..., 3] < 0.1).astype(np.uint8), np.ones((5, 5))) > 0
    difference = np.abs(found - expected[..., :3])[inside]
    assert difference.size == 0 or difference.mean() < 1.5
    assert not found[outside].any()


def test_a_turned_picture_is_turned_anticlockwise_as_torchvision_does():
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[5:15, 28:36] = 255
    homography = geometry.crop_homographies(WHOLE, UPRIGHT, np.deg2rad([30.0]), STILL)[0]
    found = geometry.warp(Pyramid(picture), homography, 64)
    expected = np.asarray(Image.fromarray(picture).rotate(30, Image.Resampling.BILINEAR))
    assert np.abs(found.astype(int) - expected)[8:-8, 8:-8].max() <= 2


@untimed
@given(
    st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4),
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1)), st.integers(1, 500), st.integers(1, 500),
    st.floats(1, 2),
)
def test_boxes_lie_inside_and_have_the_area_asked_for(uniforms, scale, height, width, aspect):
    low, high = sorted(scale)
    ((x, y, w, h),) = geometry.crop_boxes(
        np.array([uniforms]), np.array([[low, high]]), height, width, aspect
    )
    assert x - w / 2 >= -1e-9
    assert x + w / 2 <= width + 1e-9
    assert y - h / 2 >= -1e-9
    assert y + h / 2 <= height + 1e-9
    share = w * h / (height * width)
    assert share == pytest.approx(low + uniforms[0] * (high - low))
    oblong = max(w / h, h / w)
    # beyond the limit only if no box of the area fits otherwise: then one side is the image's
    assert oblong <= aspect * (1 + 1e-9) or w == pytest.approx(width) or h == pytest.approx(height)


def test_areas_are_uniform_and_aspects_log_uniform():
    uniforms = np.random.default_rng(1).random((20_000, 4))
    scale = np.tile([0.1, 0.5], (20_000, 1))
    boxes = geometry.crop_boxes(uniforms, scale, 200, 200)
    areas, aspects = boxes[:, 2] * boxes[:, 3] / 200**2, boxes[:, 2] / boxes[:, 3]
    assert kstest((areas - 0.1) / 0.4, "uniform").pvalue > 0.01
    assert kstest(np.log(aspects * 4 / 3) / (2 * np.log(4 / 3)), "uniform").pvalue > 0.01
    assert abs(np.corrcoef(areas, aspects)[0, 1]) < 0.03


def test_a_crop_at_a_quarter_of_the_size_is_an_average_and_no_sample():
    homography = geometry.crop_homographies(WHOLE, UPRIGHT, np.zeros(1), STILL)[0]
    found = geometry.warp(Pyramid(NOISE), homography, 16)
    average = NOISE.reshape(16, 4, 16, 4, 3).mean(axis=(1, 3))
    assert np.abs(found - average).max() <= 1


@pytest.mark.parametrize("size", [30, 25, 20, 13])
def test_fine_structure_does_not_alias_when_it_is_made_smaller(size):
    """White noise has no coarse structure: what a small crop shows of it must be near its average."""
    homography = geometry.crop_homographies(WHOLE, UPRIGHT, np.zeros(1), STILL)[0]
    found = geometry.warp(Pyramid(NOISE), homography, size).astype(float)
    expected = np.asarray(Image.fromarray(NOISE).resize((size, size), Image.Resampling.BILINEAR), float)
    plain = cv2.resize(NOISE, (size, size), interpolation=cv2.INTER_LINEAR).astype(float)
    assert np.std(found - expected) < 0.6 * np.std(plain - expected)


@untimed
@given(moves, angles)
def test_minification_is_how_an_area_shrinks(offsets, radians):
    box = np.array([[70.0, 40.0, 60.0, 50.0]])
    homography = geometry.crop_homographies(box, UPRIGHT, np.array([radians]), offsets)[0]
    small = CORNERS * 1e-4  # a square of the crop, and the area of the image that it shows
    x, y = at(homography, small).T
    shown = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    expected = np.sqrt(shown / (1e-4 * 30) ** 2)
    assert geometry.minification(homography, size=30) == pytest.approx(expected, rel=1e-4)


def test_borders_reflect_or_are_black():
    white = np.full((40, 40, 3), 255, np.uint8)
    beyond = geometry.crop_homographies(np.array([[0.0, 0, 30, 30]]), UPRIGHT, np.zeros(1), STILL)[0]
    assert geometry.warp(Pyramid(white), beyond, 30, "reflect").min() == 255
    black = geometry.warp(Pyramid(white), beyond, 30, "black")
    assert black[:14].max() == 0
    assert black[16:, 16:].min() == 255


def test_a_pyramid_ends_where_nothing_is_left_to_halve():
    thin = np.full((3, 200, 3), 7, np.uint8)
    homography = geometry.crop_homographies(np.array([[100.0, 1.5, 200, 3]]), UPRIGHT, np.zeros(1), STILL)[0]
    assert (geometry.warp(Pyramid(thin), homography, 2) == 7).all()
