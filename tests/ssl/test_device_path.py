"""What a GPU asks of the step, shown without one: pinned batches, and no moment at which the host waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data._utils.pin_memory import pin_memory

from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import PretrainSettings
from hundredfold.ssl.batches import Batch
from hundredfold.ssl.device import create_fabric
from hundredfold.ssl.dino import DINO
from hundredfold.ssl.optimiser import clip_gradients, create_optimiser, prepare_step
from hundredfold.ssl.schedules import Schedule

WAITS = {"_local_scalar_dense", "item", "is_nonzero", "nonzero", "equal", "masked_select", "_unique2"}


class WaitingError(AssertionError):
    """The host asked for a value of a tensor."""


class NeverWait(TorchDispatchMode):
    """Refuses to read values of tensors, for which the host would wait. Copies to the host are not seen."""

    def __torch_dispatch__(self, function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.__name__.split(".")[0]
        if name in WAITS:
            raise WaitingError(name)
        return function(*args, **(kwargs or {}))


@contextmanager
def noted_pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, ...]]]:
    """Page-locked memory needs a GPU's driver; here a copy stands for it."""
    shapes: list[tuple[int, ...]] = []

    def pin(tensor: torch.Tensor, *_: object) -> torch.Tensor:
        shapes.append(tuple(tensor.shape))
        return tensor.clone()

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "pin_memory", pin)
        yield shapes


def test_the_loader_pins_both_sizes_of_views(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch(
        3, np.arange(4), torch.zeros(2, 4, 8, 8, 3, dtype=torch.uint8),
        torch.ones(1, 4, 4, 4, 3, dtype=torch.uint8),
    )
    with noted_pins(monkeypatch) as shapes:
        pinned = pin_memory(batch, None)  # what DataLoader calls on every batch
    assert shapes == [(2, 4, 8, 8, 3), (1, 4, 4, 4, 3)]
    assert isinstance(pinned, Batch)
    assert pinned.step == 3
    assert pinned.rows is batch.rows
    assert torch.equal(pinned.small, batch.small)
    assert pinned.large.dtype == torch.uint8  # a quarter of the bytes to copy; the device normalises


@pytest.mark.parametrize(
    "changes",
    [{}, {"centring": "ema"}, {"koleo": 0.1}, {"clip": 0.0}, {"gradient_checkpointing": True},
     {"freeze_backbone": 0.5, "freeze_last_layer": 0.5}],
)
@pytest.mark.parametrize("name", ["test_vit.r160_in1k", "test_efficientnet.r160_in1k"])
def test_forward_backward_clipping_optimiser_and_teacher_never_wait(
    name: str, changes: dict[str, Any]
) -> None:
    settings = PretrainSettings.of(
        images=".", out=".", prototypes=16, head_hidden=16, head_bottleneck=8, **changes
    )
    dino = DINO(create_backbone(name, weights="none"), settings)
    optimiser = create_optimiser(dino.student)
    values = Schedule(settings, 10, 4).at(0)
    large = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
    small = torch.randint(0, 256, (1, 4, 32, 32, 3), dtype=torch.uint8)
    for _ in range(2):  # the optimiser's first step makes its state
        with NeverWait():
            prepare_step(optimiser, values)
            optimiser.zero_grad(set_to_none=True)
            outputs = dino(large, small, values.teacher_temperature)
            outputs.loss.backward()
            clip_gradients(dino, values, settings.clip)
            optimiser.step()
            dino.update_teacher(values.momentum)


def test_one_process_trains_in_a_slurm_job_of_several_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """``sbatch --ntasks=4`` is how many ask for four cores; it must not end the run after its scan."""
    for name, value in {"NTASKS": "4", "JOB_NAME": "cells", "PROCID": "0", "JOB_ID": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    fabric = create_fabric("float32")
    assert (fabric.world_size, fabric.global_rank) == (1, 0)


def test_a_waiting_host_would_be_seen() -> None:
    loss = torch.ones(1).sum()
    for wait in (loss.item, lambda: bool(loss > 0), loss.nonzero, lambda: torch.ones(3)[loss > 0]):
        with NeverWait(), pytest.raises(WaitingError):
            wait()
