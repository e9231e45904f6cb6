"""Every registered modality does to an image what it says, and nothing that it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hundredfold.config.pretrain import PretrainSettings
from hundredfold.errors import SettingsError
from hundredfold.views.modalities import MODALITIES, Modality
from hundredfold.views.multicrop import MultiCrop

#: red grows to the right and green downwards, so that the middle of a view says how it lies.
RAMP = np.zeros((201, 201, 3), np.uint8)
RAMP[..., 0], RAMP[..., 1] = np.arange(201), np.arange(201)[:, None]


def lies(modality, draws=150):
    """How the image's axes lie in each of many views: the gradients of red and green, ``[n, 2, 2]``."""
    plain = replace(
        modality, jitter_p=0.0, greyscale_p=0.0, blur_p=(0, 0, 0), solarise_p=(0, 0, 0), perspective=0.0
    )
    views = MultiCrop(
        plain, image_size=65, local_size=65, local_crops=0, global_scale=(0.15, 0.2), seed=0
    )
    crops = np.concatenate([views(RAMP, key, 0)[0] for key in range(draws)]).astype(float)
    middle = crops[:, 24:41, 24:41, :2]
    if modality.border == "black":
        middle = middle[(middle.min(axis=(1, 2)) > 2).all(axis=1)]  # crops that border on nothing
    over_x = (middle[:, :, -1] - middle[:, :, 0]).mean(axis=1)
    over_y = (middle[:, -1] - middle[:, 0]).mean(axis=1)
    gradients = np.stack([over_x, over_y], axis=2)
    return gradients[np.abs(np.linalg.det(gradients)) > 10]  # not where a reflection meets the image


@pytest.fixture(params=list(MODALITIES))
def modality(request):
    return MODALITIES[request.param]


def test_it_says_why_in_one_sentence(modality):
    assert modality.name in MODALITIES
    assert modality.reason.endswith(".")
    assert ". " not in modality.reason.replace("et al. ", "")
    assert len(modality.reason.split()) >= 8


def test_it_mirrors_only_what_may_be_mirrored(modality):
    mirrored = np.linalg.det(lies(modality)) < 0
    if modality.flip_horizontal or modality.flip_vertical:
        assert 0.35 < mirrored.mean() < 0.65
    else:
        assert not mirrored.any()


def test_it_turns_no_further_than_it_says(modality):
    gradients = lies(modality)
    down = gradients[:, 1]  # where the bottom of the image lies
    degrees = np.abs(np.rad2deg(np.arctan2(down[:, 0], down[:, 1])))
    if modality.flip_vertical:
        assert (degrees > 120).any()
        return
    stretch = np.rad2deg(np.arctan(np.tan(np.deg2rad(modality.rotation)) * modality.aspect**2))
    assert degrees.max() <= stretch + 1
    assert degrees.max() >= 0.7 * modality.rotation


def test_its_views_are_bytes_of_the_size_asked_for(modality):
    cells = np.random.default_rng(0).integers(60, 200, (48, 48, 3), dtype=np.uint8)
    views = MultiCrop(modality, image_size=40, local_size=24, local_crops=2, seed=1)
    for key in range(20):
        large, small = views(cells, key, 0)
        assert (large.shape, large.dtype) == ((2, 40, 40, 3), np.uint8)
        assert (small.shape, small.dtype) == ((2, 24, 24, 3), np.uint8)
        assert large.reshape(2, -1).std(axis=1).min() > 1  # something is to be seen


def test_grey_images_stay_grey(modality):
    grey = np.repeat(np.random.default_rng(0).integers(0, 256, (48, 48, 1), dtype=np.uint8), 3, axis=2)
    large, small = MultiCrop(modality, image_size=40, local_size=24, local_crops=6, seed=1)(grey, 1, 0)
    for crops in (large, small):
        assert np.ptp(crops.astype(int), axis=3).max() <= 1  # the fixed point of OpenCV's matrix


def test_a_chest_x_ray_is_never_mirrored():
    assert MODALITIES["xray"].flip_horizontal == MODALITIES["xray"].flip_vertical == 0
    assert MODALITIES["xray"].symmetry == "none"


def test_the_paper_preset_is_the_papers():
    """METHOD.md, row "augmentation"."""
    paper = MODALITIES["paper"]
    assert (paper.perspective, paper.perspective_p, paper.rotation) == (0.5, (0.75, 0.5, 0.5), 180)
    assert (paper.flip_horizontal, paper.flip_vertical, paper.border) == (0.5, 0.5, "black")
    assert (paper.brightness, paper.contrast, paper.saturation, paper.hue) == (0.4, 0.4, 0.2, 0.1)
    assert (paper.jitter_p, paper.greyscale_p) == (0.8, 0.2)
    assert (paper.blur_p, paper.solarise_p) == ((1.0, 0.1, 0.5), (0.0, 0.2, 0.0))
    assert [256 * share for share in (*paper.blur, paper.blur_reach)] == [0.1, 5, 5]  # an 11 px kernel
    assert PretrainSettings.model_fields["modality"].default in MODALITIES
    assert PretrainSettings.presets["paper"]["modality"] == "paper"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("flip_horizontal", 1.5), ("perspective_p", (0.5, 0.5, -0.1)), ("hue", 0.6), ("rotation", 270),
        ("blur", (0.02, 0.01)), ("blur_reach", 0.0), ("aspect", 0.75),
    ],
)
def test_a_strength_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(SettingsError, match="of a modality must be"):
        Modality(name="wrong", reason="None.", **{field: value})


@pytest.mark.parametrize(
    ("name", "symmetry"),
    [("microscopy", "dihedral"), ("histology", "dihedral"), ("ultrasound", "mirror"), ("xray", "none")],
)
def test_its_symmetry_is_what_it_may_do(name, symmetry):
    assert MODALITIES[name].symmetry == symmetry


#: what DINO does to photographs, or the paper to all: whether a modality does as much, and the word for it
CHANGES = {
    "solarisation": lambda modality: any(modality.solarise_p),
    "greyscale": lambda modality: modality.greyscale_p >= 0.05 and modality.saturation,
    "flip": lambda modality: modality.flip_vertical,
    "blur": lambda modality: modality.blur_p >= (0.5, 0.1, 0.3),
    "perspective": lambda modality: modality.perspective or modality.frame == "image",
    "hue": lambda modality: modality.hue >= 0.05,
}


@pytest.mark.parametrize("name", sorted(set(MODALITIES) - {"paper", "natural"}))
def test_it_names_what_is_left_out(name):
    modality = MODALITIES[name]
    silent = [word for word, does in CHANGES.items() if not does(modality) and word not in modality.left_out]
    assert silent == []
    assert modality.left_out.endswith(".")
    claimed = [
        word for word, does in CHANGES.items() if does(modality) and f"o {word}" in modality.left_out
    ]  # "No greyscale", "no greyscale"
    assert claimed == []


@pytest.mark.parametrize("name", ["dermoscopy", "endoscopy", "fundus"])
def test_where_colour_is_a_finding_no_view_loses_it(name):
    modality = MODALITIES[name]
    green, red = np.full((48, 48, 3), (60, 160, 60), np.uint8), np.full((48, 48, 3), (200, 60, 60), np.uint8)
    views = MultiCrop(modality, image_size=32, local_size=16, local_crops=4, seed=0)
    for key in range(60):
        for image, channel in ((green, 1), (red, 0)):
            for crops in views(image, key, 0):
                others = [other for other in range(3) if other != channel]
                assert (crops[..., channel].astype(int) > crops[..., others].max(axis=-1)).all()


def test_an_x_ray_is_never_blurred():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 1), dtype=np.uint8).repeat(3, axis=2)
    plain = replace(MODALITIES["xray"], rotation=0.0, brightness=0.0, contrast=0.0, aspect=1.0)
    whole = MultiCrop(
        plain, image_size=64, local_size=32, local_crops=0, global_scale=(1.0, 1.0), seed=0
    )
    for key in range(40):
        assert np.abs(whole(noise, key, 0)[0].astype(int) - noise).max() <= 2
