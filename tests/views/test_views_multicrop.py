"""MultiCrop: a view is a function of seed, epoch, image and crop, and of nothing else."""

from __future__ import annotations

import multiprocessing
import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest

from hundredfold.errors import SettingsError
from hundredfold.views import multicrop as multicrop_module
from hundredfold.views.modalities import MODALITIES
from hundredfold.views.multicrop import MultiCrop, crop_uniforms, image_key

#: a busy machine is no fault of the views.
untimed = settings(deadline=None)

NOISE = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
numbers = st.integers(0, 2**63 - 1)


def multicrop(modality="microscopy", **changes):
    usual = {"image_size": 32, "local_size": 16, "local_crops": 4, "seed": 0}
    return MultiCrop(modality, **{**usual, **changes})


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_order_in_which_images_are_seen_changes_nothing():
    calls = [(key, epoch) for key in range(4) for epoch in range(3)]
    views = multicrop()
    there = {call: views(NOISE, *call) for call in calls}
    views = multicrop()
    assert all(same(views(NOISE, *call), there[call]) for call in reversed(calls))


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_local_crop_is_the_same_however_many_are_asked_for(modality):
    """Mistake 13: as many local crops as asked for; and no crop depends on their number."""
    most_large, most_small = multicrop(modality, local_crops=8)(NOISE, key=5, epoch=2)
    for count in (0, 1, 2, 7):
        large, small = multicrop(modality, local_crops=count)(NOISE, key=5, epoch=2)
        assert small.shape == (count, 16, 16, 3)
        assert np.array_equal(large, most_large)
        assert np.array_equal(small, most_small[:count])


def test_another_process_draws_the_same_views():
    views = multicrop()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(views, (NOISE, 3, 1))
    assert same(there, views(NOISE, 3, 1))


def test_a_pickled_copy_draws_the_same_views():
    views = multicrop()
    assert same(pickle.loads(pickle.dumps(views))(NOISE, 3, 1), views(NOISE, 3, 1))


def test_the_number_of_threads_changes_nothing():
    threads, views = cv2.getNumThreads(), multicrop("paper", image_size=400)
    try:
        cv2.setNumThreads(1)
        alone = views(NOISE, 3, 1)
        cv2.setNumThreads(4)
        assert same(views(NOISE, 3, 1), alone)
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("changed", [{"seed": 1}, {"key": 4}, {"epoch": 2}])
def test_seed_image_and_epoch_each_make_other_views(changed):
    call = {"seed": 0, "key": 3, "epoch": 1}
    (one, _), (other, _) = (
        multicrop(seed=c["seed"])(NOISE, key=c["key"], epoch=c["epoch"]) for c in (call, {**call, **changed})
    )
    assert not np.array_equal(one, other)


def test_all_crops_of_an_image_differ():
    large, small = multicrop(local_crops=6, local_size=32, local_scale=(0.4, 1.0))(NOISE, 0, 0)
    assert len({crop.tobytes() for crop in (*large, *small)}) == 8


def philox(counter, key):
    """Philox4x64-10 as Salmon et al. 2011 describe it, in plain integers: four numbers of 64 bits."""
    (a, b, c, d), (k, m), full = counter, key, 2**64
    for _ in range(10):
        high_a, low_a = divmod(0xD2E7470EE14C6C93 * a, full)
        high_c, low_c = divmod(0xCA5A826395121157 * c, full)
        a, b, c, d = high_c ^ b ^ k, low_c, high_a ^ d ^ m, low_a
        k, m = (k + 0x9E3779B97F4A7C15) % full, (m + 0xBB67AE8584CAA73B) % full
    return [a, b, c, d]


@pytest.mark.parametrize(("seed", "epoch", "key"), [(0, 0, 0), (7, 123, 2**63 - 1)])
def test_the_random_numbers_are_these_on_any_machine(seed, epoch, key):
    # NumPy steps the counter before each block, so that the first one is block 1
    words = [word for block in range(1, 25) for word in philox((block, epoch, 0, 0), (seed, key))]
    expected = np.array([(word >> 11) / 2**53 for word in words]).reshape(3, 32)
    assert np.array_equal(crop_uniforms(seed, epoch, key, crops=3), expected)


@untimed
@given(numbers, numbers, numbers, st.integers(0, 20))
def test_a_row_of_random_numbers_can_be_drawn_alone(seed, epoch, key, crop):
    rows = crop_uniforms(seed, epoch, key, crops=crop + 1)
    assert np.array_equal(crop_uniforms(seed, epoch, key, crops=1, first=crop)[0], rows[-1])


def test_every_decision_has_random_numbers_of_its_own():
    columns = [
        value for name, value in vars(multicrop_module).items()
        if name.isupper() and name != "ROW" and isinstance(value, int | slice)
    ]
    assert len(columns) == 12
    taken = [column for value in columns for column in np.atleast_1d(np.arange(32)[value])]
    assert len(taken) == len(set(taken))
    assert multicrop_module.ROW == 32


def test_no_two_crops_share_random_numbers():
    drawn = np.array([
        crop_uniforms(seed, epoch, key, crops=10)
        for seed in range(5) for epoch in range(5) for key in range(5)
    ])
    assert np.unique(drawn).size == drawn.size
    assert kstest(drawn.ravel(), "uniform").pvalue > 0.01


def test_an_image_key_is_this_on_any_machine_and_fits_a_signed_integer():
    assert image_key("cells/0001.png") == 6812440746751409427
    keys = {image_key(f"{number}.png") for number in range(1000)}
    assert len(keys) == 1000
    assert all(0 <= key < 2**63 for key in keys)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 200), (200, 3), (17, 40)])
@pytest.mark.parametrize("modality", ["microscopy", "paper"])
def test_images_of_any_shape_give_views(shape, modality):
    large, small = multicrop(modality)(np.full((*shape, 3), 90, np.uint8), 1, 1)
    assert large.shape == (2, 32, 32, 3)
    assert small.shape == (4, 16, 16, 3)


def test_a_read_only_memory_map_is_read(tmp_path):
    np.save(tmp_path / "pixels.npy", NOISE[None])
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    assert same(multicrop()(mapped[0], 1, 1), multicrop()(NOISE, 1, 1))


def test_the_image_is_left_as_it_was():
    pixels = NOISE.copy()
    multicrop("paper")(pixels, 1, 1)
    assert np.array_equal(pixels, NOISE)


@pytest.mark.parametrize(
    "pixels", [NOISE[..., 0], NOISE[..., :2], NOISE.astype(np.float32), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_colour_image_of_bytes_is_refused(pixels):
    with pytest.raises(ValueError, match=r"expected uint8 \[h, w, 3\], found"):
        multicrop()(pixels, 0, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 0}, "image_size must be at least 1, found 0"),
        ({"local_size": 0}, "local_size must be at least 1"),
        ({"local_crops": -1}, "local_crops must be at least 0"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"global_scale": (0.0, 1.0)}, "global_scale must be two shares"),
        ({"local_scale": (0.5, 0.4)}, "local_scale must be two shares"),
        ({"modality": "microscope"}, "Did you mean 'microscopy'"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(changes, message):
    with pytest.raises(SettingsError, match=message):
        multicrop(**changes)


def test_each_view_gets_its_own_share_of_blur_and_solarisation():
    """The even image: only solarisation can turn a light crop dark, and only jitter is otherwise allowed."""
    light = np.full((40, 40, 3), 250, np.uint8)
    paper = replace(MODALITIES["paper"], jitter_p=0.0, border="reflect")
    views = multicrop(paper)
    dark = np.array([
        [crop.mean() < 128 for part in views(light, key, 0) for crop in part] for key in range(300)
    ])
    shares = dark.mean(axis=0)
    assert shares[0] == 0
    assert 0.13 < shares[1] < 0.27
    assert shares[2:].tolist() == [0, 0, 0, 0]


def test_jitter_and_greyscale_come_as_often_as_asked_for():
    coloured = np.zeros((40, 40, 3), np.uint8) + np.array([120, 90, 60], np.uint8)
    views = multicrop(replace(MODALITIES["natural"], solarise_p=(0, 0, 0)), local_crops=0)
    crops = np.concatenate([views(coloured, key, 0)[0] for key in range(300)])[:, 16, 16].astype(int)
    grey = np.ptp(crops, axis=1) == 0
    unchanged = (crops == [120, 90, 60]).all(axis=1)
    assert 0.15 < grey.mean() < 0.25  # .2
    assert 0.11 < unchanged.mean() < 0.21  # no jitter (.2) and no greyscale (.8)


def test_the_papers_perspective_shrinks_the_image_into_its_frame():
    """torchvision moves the corners inwards: they are black, and never is the image enlarged."""
    white = np.full((60, 60, 3), 255, np.uint8)
    plain = {"rotation": 0.0, "jitter_p": 0.0, "blur_p": (0, 0, 0), "solarise_p": (0, 0, 0)}
    tilted = replace(MODALITIES["paper"], perspective_p=(1.0, 0.0, 1.0), **plain)
    views = multicrop(tilted, image_size=60, global_scale=(1.0, 1.0))
    crops = np.array([views(white, key, 0)[0] for key in range(60)])
    assert (crops[:, 1] == 255).all()  # the second global crop is not tilted here
    corners = crops[:, 0, [0, 0, -1, -1], [0, -1, 0, -1], 0]
    assert (corners < 255).mean() > 0.9
    # a corner moves an eighth of the side inwards on average: (1 - 2/8)^2 of the area stays
    assert (crops[:, 0] > 127).mean() == pytest.approx(0.5625, abs=0.05)


@pytest.mark.parametrize("modality", [name for name in MODALITIES if name != "paper"])
def test_an_upright_crop_never_leaves_the_image(modality):
    """With the border black instead of reflected, a white image stays white to the edge."""
    plain = {"rotation": 0.0, "perspective": 0.0, "jitter_p": 0.0, "solarise_p": (0, 0, 0)}
    views = multicrop(replace(MODALITIES[modality], border="black", **plain))
    white = np.full((60, 60, 3), 255, np.uint8)
    assert all((part == 255).all() for key in range(15) for part in views(white, key, 0))
