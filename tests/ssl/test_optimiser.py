"""The switches of the optimiser do what they say, to weights and not only to settings."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator

import pytest
import torch

from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import PretrainChoices
from hundredfold.ssl.dino import DINO
from hundredfold.ssl.optimiser import clip_gradients, create_optimiser, parameter_groups, prepare_step
from hundredfold.ssl.schedules import Schedule

SMALL = {"prototypes": 16, "head_hidden": 32, "head_bottleneck": 8}


def dino_of(backbone: str, **changes: object) -> DINO:
    torch.manual_seed(0)
    settings = PretrainChoices.of(**SMALL, **changes)
    return DINO(create_backbone(backbone, weights="none"), settings)


def crops() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    large = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8, generator=generator)
    small = torch.randint(0, 256, (2, 4, 16, 16, 3), dtype=torch.uint8, generator=generator)
    return large, small


def first_update(dino: DINO, **changes: object) -> dict[str, float]:
    """How far each weight moves at most in one step at the peak rate; AdamW's first step is lr · sign."""
    settings = PretrainChoices.of(**{**SMALL, "warmup": 0.0, "weight_decay": 0.0, "clip": 0.0, **changes})
    values = Schedule(settings, 10, 256).at(0)
    optimiser = create_optimiser(dino.student, settings.layer_decay)
    before = {name: p.detach().clone() for name, p in dino.student.named_parameters()}
    prepare_step(optimiser, values)
    dino(*crops(), 0.04).loss.backward()
    optimiser.step()
    return {name: (p.detach() - before[name]).abs().max().item() for name, p in _named(dino)}


def _named(dino: DINO) -> Iterator[tuple[str, torch.nn.Parameter]]:
    return dino.student.named_parameters()


@pytest.mark.parametrize("backbone", ["resnet10t", "vit_tiny_patch16_224", "xcit_nano_12_p16_224"])
def test_earlier_layers_move_less_and_the_head_at_the_full_rate(backbone: str) -> None:
    alike = first_update(dino_of(backbone), learning_rate=1e-3)
    moved = first_update(dino_of(backbone), learning_rate=1e-3, layer_decay=0.5)
    assert moved["head.prototypes"] == pytest.approx(alike["head.prototypes"])
    depths = {
        name: 1e-3 / far for name, far in moved.items() if name.startswith("backbone") and far > 1e-9
    }
    halvings = {round(math.log2(depth)) for depth in depths.values()}
    assert min(halvings) == 0
    assert max(halvings) >= 4
    first = next(iter(depths))  # the stem, or the patches' projection
    assert round(math.log2(depths[first])) >= max(halvings) - 1


def test_without_layer_decay_there_are_two_groups_of_one_rate() -> None:
    student = dino_of("resnet10t").student
    assert [group["scale"] for group in parameter_groups(student)] == [1.0, 1.0]
    decayed = parameter_groups(student, 0.75)
    assert sum(len(group["params"]) for group in decayed) == len(list(student.parameters()))
    assert all((p.ndim > 1) == group["decays"] for group in decayed for p in group["params"])


def test_the_scales_of_the_layers_survive_a_checkpoint() -> None:
    optimiser = create_optimiser(dino_of("resnet10t").student, 0.75)
    again = create_optimiser(dino_of("resnet10t").student, 0.75)
    again.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    prepare_step(again, Schedule(PretrainChoices.of(), 10, 256).at(5))
    rates = [group["lr"] for group in again.param_groups]
    assert len(set(rates)) > 3
    assert rates == [rates[0] * group["scale"] for group in optimiser.param_groups]


@pytest.mark.parametrize("batch", [16, 64, 256, 1024])
def test_the_two_rules_for_the_learning_rate_meet_at_batch_256(batch: int) -> None:
    linear, root = (
        Schedule(PretrainChoices.of(learning_rate_rule=rule, warmup=0.0), 10, batch).at(0).learning_rate
        for rule in ("linear", "sqrt")
    )
    assert linear == pytest.approx(2e-3 * batch / 256)
    assert root == pytest.approx(2e-3 * math.sqrt(batch / 256))


@pytest.mark.parametrize("backbone", ["resnet10t", "vit_tiny_patch16_224"])
def test_a_frozen_backbone_is_spared_its_backward_pass_and_the_head_learns_bit_equal(backbone: str) -> None:
    settings = PretrainChoices.of(freeze_backbone=1, **SMALL)
    values = Schedule(settings, 10, 64).at(3)
    weights = []
    for spared in (False, True):
        dino = dino_of(backbone)
        optimiser = create_optimiser(dino.student)
        for _ in range(3):
            prepare_step(optimiser, values)
            optimiser.zero_grad()
            dino(*crops(), 0.04, backbone_frozen=spared).loss.backward()
            found = [p.grad is not None for p in dino.student.backbone.parameters()]
            assert any(found) != spared
            clip_gradients(dino, values, 0.32)
            optimiser.step()
            dino.update_teacher(0.9)
        weights.append(dino.state_dict())
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_koleo_pushes_the_nearest_apart_and_centring_changes_the_targets() -> None:
    plain, spread = (dino_of("resnet10t", koleo=weight)(*crops(), 0.04).loss.item() for weight in (0.0, 0.1))
    assert plain != spread
    even = dino_of("resnet10t", centring="sinkhorn")(*crops(), 0.04).targets.flatten(0, 1).mean(0)
    own = dino_of("resnet10t", centring="ema")(*crops(), 0.04).targets.flatten(0, 1).mean(0)
    assert even.std() < own.std()


def test_without_local_crops_only_the_global_ones_are_compared() -> None:
    large, small = crops()
    outputs = dino_of("resnet10t", local_crops=0)(large, small[:0], 0.04)
    assert outputs.student_logits.shape[0] == 2
    assert outputs.loss.isfinite()
