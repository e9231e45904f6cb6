"""Schedules are functions of the step (METHOD.md, mistakes 1 and 3)."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hundredfold.config import PretrainChoices
from hundredfold.ssl.schedules import Schedule, default_momentum, warmup_cosine

STEPS = st.integers(2, 5000)


@given(STEPS)
def test_the_teacher_momentum_rises_to_one(steps: int) -> None:
    schedule = Schedule(PretrainChoices.of(), steps, 64)
    values = [schedule.at(step).momentum for step in range(0, steps, max(1, steps // 50))]
    assert values == sorted(values)
    assert values[0] == pytest.approx(schedule.momentum)
    assert schedule.momentum < 1
    assert schedule.at(steps - 1).momentum == 1


@given(STEPS)
def test_the_first_update_runs_at_the_start_of_the_warm_up(steps: int) -> None:
    settings = PretrainChoices.of(warmup=0.2, learning_rate=1.0, learning_rate_end=0.0)
    schedule = Schedule(settings, steps, 256)
    rates = [schedule.at(step).learning_rate for step in range(steps)]
    warmup = round(0.2 * steps)
    assert max(rates) <= 1
    if warmup > 1:
        assert rates[0] == pytest.approx(1 / warmup)
        assert rates[warmup - 1] == 1
        assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)


def test_the_learning_rate_is_scaled_by_the_batch() -> None:
    settings = PretrainChoices.of(warmup=0.0, learning_rate=5e-4)
    assert Schedule(settings, 10, 256).at(0).learning_rate == pytest.approx(5e-4)
    assert Schedule(settings, 10, 64).at(0).learning_rate == pytest.approx(5e-4 / 4)


def test_the_cosine_is_that_of_the_paper() -> None:
    # Caron et al. 2021, main_dino.py: final + 0.5 (base - final)(1 + cos(pi i / len)); ours ends on the last.
    ours = [warmup_cosine(step, 12, 2, 3.0, 1.0) for step in range(2, 12)]
    assert ours == pytest.approx([1 + (1 + math.cos(math.pi * i / 9)) for i in range(10)])


@pytest.mark.parametrize(("steps", "expected"), [(100, 0.99), (2000, 0.99), (20_000, 0.999), (10**6, 0.9995)])
def test_the_default_momentum_follows_the_length(steps: int, expected: float) -> None:
    assert default_momentum(steps) == pytest.approx(expected)


def test_warm_ups_are_shares_of_the_run() -> None:
    settings = PretrainChoices.of(
        teacher_temperature=0.02, teacher_temperature_end=0.04, teacher_temperature_warmup=0.5,
        freeze_last_layer=0.1, freeze_backbone=0.25,
    )
    for steps in (100, 1000):
        schedule = Schedule(settings, steps, 64)
        assert schedule.at(0).teacher_temperature == 0.02
        assert schedule.at(steps // 4).teacher_temperature == pytest.approx(0.03)
        assert schedule.at(steps // 2).teacher_temperature == 0.04
        frozen = [schedule.at(step) for step in range(steps)]
        assert sum(values.last_layer_frozen for values in frozen) == steps // 10
        assert sum(values.backbone_frozen for values in frozen) == steps // 4
