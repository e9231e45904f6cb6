"""Defaults follow the data by monotone rules, say why, and are decided once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import FittedChoices, PretrainChoices
from hundredfold.ssl import footprint, planning
from hundredfold.ssl.batches import BatchOrder
from hundredfold.ssl.defaults import (
    MEMORY_SHARE,
    Circumstances,
    Fitted,
    fit_settings,
    fit_to_steps,
    warnings_of,
    without_effect,
)
from hundredfold.ssl.pool import Pool

IMAGES = st.integers(2, 3_000_000)
DEVICES = st.sampled_from(["cpu", "cuda", "mps"])
FOUND = st.builds(
    Circumstances, images=IMAGES, stored_size=st.integers(16, 1024), device=DEVICES,
    memory=st.none() | st.integers(10**9, 10**11),
    footprint=st.sampled_from([None, lambda size, local, crops: 300 * (2 * size**2 + crops * local**2)]),
)
#: Left open, and yet not by the data: a time limit, and what only follows the machine, so that a resume
#: on another one decides it anew; and the stages, which follow the kind of network.
ELSEWHERE = {"minutes", "workers", "log_every", "stages"}
DEPENDENT = {
    name for name, kind in PretrainChoices.model_fields.items() if kind.default is None
} - ELSEWHERE


def fitted(found: Circumstances, **given: Any) -> FittedChoices:
    return fit_settings(PretrainChoices.of(**given), found).settings


def steps_of(settings: FittedChoices, images: int) -> int:
    assert settings.epochs is not None
    per_epoch = BatchOrder(images, min(settings.batch_size, images), 0).steps_per_epoch
    return max(1, round(settings.epochs * per_epoch))


@given(FOUND)
def test_every_default_has_a_value_a_reason_and_stays_within_its_bounds(found: Circumstances) -> None:
    whole = fit_to_steps(fit_settings(PretrainChoices.of(), found), 1000)
    settings = whole.settings
    assert {name for name in DEPENDENT if getattr(settings, name) is None} == set()
    assert whole.reasons.keys() == DEPENDENT
    assert 16 <= settings.image_size <= (112 if found.device == "cpu" else 224)
    assert settings.image_size <= max(16, found.stored_size)
    assert settings.local_size <= settings.image_size
    assert 2 <= settings.batch_size <= min(found.images, 64 if found.device == "cpu" else 256)
    assert 2 <= settings.prototypes <= 65_536
    told = [name for name in whole.reasons if name != "local_size"]  # of crops that there are none of
    assert all(line.startswith(f"{name} ") for name, line in zip(told, whole.lines(), strict=True))


@given(FOUND)
def test_a_run_has_neither_too_few_nor_too_many_steps(found: Circumstances) -> None:
    settings = fitted(found)
    steps = steps_of(settings, found.images)
    assert 2_000 <= steps <= 100_000
    assert warnings_of(
        settings, steps=steps, batch_size=settings.batch_size, images=found.images, random=False
    ) == []


@given(FOUND, IMAGES)
def test_more_images_never_mean_fewer_prototypes_or_a_smaller_batch(found: Circumstances, other: int) -> None:
    fewer, more = sorted([found, replace(found, images=other)], key=lambda one: one.images)
    less, greater = fitted(fewer), fitted(more)
    assert less.batch_size <= greater.batch_size
    assert less.prototypes <= greater.prototypes
    ema = [fitted(one, centring="ema").prototypes for one in (fewer, more)]
    assert ema == sorted(ema)


@given(IMAGES, IMAGES, st.integers(2, 512))
def test_at_one_batch_more_images_never_mean_more_epochs(one: int, other: int, batch: int) -> None:
    fewer, more = sorted([max(one, batch), max(other, batch)])
    runs = [fitted(Circumstances(images, 256, "cuda"), batch_size=batch) for images in (fewer, more)]
    assert runs[0].epochs >= runs[1].epochs


@given(FOUND, st.integers(10**8, 10**11))
def test_more_memory_never_means_a_smaller_batch(found: Circumstances, memory: int) -> None:
    found = replace(found, footprint=lambda size, local, crops: 50_000_000)
    small, large = sorted([memory, found.memory or 10**10])
    less, more = (fitted(replace(found, memory=room)).batch_size for room in (small, large))
    assert less <= more
    assert less == 2 or less * 50_000_000 <= small / 2 or less == found.images


@given(FOUND)
def test_sinkhorn_gets_no_more_prototypes_than_its_targets_can_share(found: Circumstances) -> None:
    settings = fitted(found)
    assert settings.prototypes <= 8 * 2 * settings.batch_size
    assert fitted(found, centring="ema").prototypes >= settings.prototypes


@given(FOUND)
def test_what_the_user_gave_stands_and_has_no_reason(found: Circumstances) -> None:
    own = {"image_size": 96, "local_size": 40, "local_crops": 0, "batch_size": 48, "prototypes": 300,
           "epochs": 7.0, "warmup": 0.0, "momentum": 0.5}
    whole = fit_to_steps(fit_settings(PretrainChoices.of(**own), found), 500)
    assert {name: getattr(whole.settings, name) for name in own} == own
    assert whole.reasons == {}


@given(FOUND)
def test_the_paper_preset_is_left_as_it_is(found: Circumstances) -> None:
    paper = PretrainChoices.of(preset="paper")
    whole = fit_to_steps(fit_settings(paper, found), 1000)
    assert whole.settings.model_dump() == paper.model_dump()
    assert whole.reasons == {}


def test_the_measured_points_are_on_the_rules() -> None:
    """6,188 cells: 1,024 prototypes and batch 64 on a CPU; the papers' 65,536 on 1.28 million images."""
    cells = fitted(Circumstances(6188, 112, "cpu"))
    assert (cells.image_size, cells.batch_size, cells.prototypes) == (112, 64, 1024)
    assert fitted(Circumstances(5_658, 80, "cpu")).prototypes == 1024
    assert fitted(Circumstances(1_281_167, 256, "cuda"), centring="ema").prototypes == 65_536
    scans = fitted(Circumstances(519, 256, "cpu"))
    assert steps_of(scans, 519) >= 2_000


def test_a_note_survives_json_and_decides_nothing_anew() -> None:
    choices = PretrainChoices.of(learning_rate=1e-3)
    begun = fit_to_steps(fit_settings(choices, Circumstances(6188, 112, "cpu")), 9600)
    again = Fitted.of_note(choices, json.loads(json.dumps(begun.note())))
    assert again == begun


@pytest.mark.parametrize(
    ("given", "idle"),
    [
        ({}, []),
        ({"local_size": 48, "local_scale": (0.1, 0.3)}, ["local_size", "local_scale"]),
        ({"local_size": 48, "local_scale": (0.1, 0.3), "local_crops": 2}, []),
        ({"centre_momentum": 0.99}, ["centre_momentum"]),
        ({"centre_momentum": 0.99, "centring": "ema"}, []),
        ({"preset": "paper"}, []),
        ({"preset": "paper", "local_crops": 0}, []),
    ],
)
def test_what_was_given_and_has_no_part_is_said(given: dict[str, Any], idle: list[str]) -> None:
    """There are no local crops unless they are asked for: their size alone draws none."""
    assert [sentence.split()[0] for sentence in without_effect(PretrainChoices.of(**given))] == idle


@pytest.mark.parametrize(
    ("steps", "images", "random", "warned"),
    [(208, 519, False, True), (528, 5600, False, False), (250, 5600, False, False), (100, 5600, False, True),
     (208, 519, True, False), (600, 519, False, False), (100, 519, True, True)],
)
def test_few_steps_are_warned_of_more_so_for_few_images(
    steps: int, images: int, random: bool, warned: bool
) -> None:
    settings = fitted(Circumstances(images, 112, "cpu"))
    told = warnings_of(settings, steps=steps, batch_size=64, images=images, random=random)
    assert any("are few" in sentence for sentence in told) == warned


@pytest.mark.parametrize(
    ("given", "warned"),
    [({"prototypes": 65_536, "batch_size": 64}, True), ({"prototypes": 65_536, "batch_size": 2048}, False),
     ({"prototypes": 65_536, "batch_size": 64, "centring": "ema"}, False), ({"prototypes": 1024}, False)],
)
def test_too_many_prototypes_for_sinkhorn_are_warned_of(given: dict[str, Any], warned: bool) -> None:
    settings = fitted(Circumstances(6188, 112, "cpu"), **given)
    told = warnings_of(settings, steps=5000, batch_size=settings.batch_size, images=6188, random=False)
    assert any("Give --prototypes 1024, " in sentence for sentence in told) == warned
    assert len(told) == warned


def test_the_footprint_is_what_autograd_keeps() -> None:
    """A linear oracle: twice the crops of a size keep twice the bytes; nothing of the backbone changes."""
    backbone = create_backbone("resnet10t", weights="none")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    state = torch.random.get_rng_state()
    none, two, four = (footprint.bytes_an_image(backbone, 64, 32, crops) for crops in (0, 2, 4))
    assert four - two == two - none > 0
    assert none > 2 * 64 * 64 * 3 * 4  # at the least the normalised crops themselves
    assert backbone.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_a_containers_limit_counts_as_its_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = footprint.device_memory("cpu")
    monkeypatch.setattr(footprint, "CGROUP", tmp_path / "memory.max")
    machine = footprint.device_memory("cpu")
    assert machine is not None
    assert whole is not None
    assert whole <= machine
    for text, expected in (("max\n", machine), ("1000000\n", 1_000_000), (f"{2 * machine}\n", machine)):
        (tmp_path / "memory.max").write_text(text)
        assert footprint.device_memory("cpu") == expected


@pytest.mark.parametrize(
    ("device", "ranks", "batch"), [("cuda", 1, 4), ("cpu", 1, 4), ("cuda", 4, 16), ("cpu", 4, 8)]
)
def test_ranks_that_share_a_batch_hold_a_share_each(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, device: str, ranks: int, batch: int
) -> None:
    """Memory for four images: two machines of two ranks have it once a GPU, or once a machine."""
    backbone = create_backbone("test_efficientnet.r160_in1k", weights="none")
    settings = PretrainChoices.of(image_size=96, local_size=48, local_crops=2, prototypes=16, epochs=1)
    room = int(4.5 * footprint.bytes_an_image(backbone, 96, 48, 2) / MEMORY_SHARE)
    monkeypatch.setattr(footprint, "device_memory", lambda _: room)
    monkeypatch.setattr(planning, "device_type", lambda: device)
    for name, value in {"WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": 2, "TORCHELASTIC_RUN_ID": 0}.items():
        if ranks > 1:
            monkeypatch.setenv(name, str(value))
    assert planning._fit(backbone, pool, settings).settings.batch_size == batch
