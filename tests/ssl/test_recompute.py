"""Gradient checkpointing changes the memory, and nothing else."""

import copy

import pytest
import torch
from torch import nn

from hundredfold.backbones.backbone import create_backbone
from hundredfold.config import PretrainSettings
from hundredfold.errors import SettingsError
from hundredfold.ssl.arrangement import Arrangement, arrange
from hundredfold.ssl.dino import DINO
from hundredfold.ssl.recompute import kept_statistics, recompute_activations

SETTINGS = PretrainSettings.of(
    images=".", out=".", prototypes=16, head_hidden=16, head_bottleneck=8, drop_path=0.2
)


def trained(name: str, *, recompute: bool, arithmetic: torch.dtype) -> dict[str, torch.Tensor]:
    """The state after a few steps; the same draws whichever way."""
    torch.manual_seed(0)
    backbone = create_backbone(name, weights="none", drop_path=SETTINGS.drop_path)
    arrange(backbone, "cpu", Arrangement("float32"))
    dino = DINO(backbone, SETTINGS)
    if recompute:
        recompute_activations(dino.student.backbone)
    optimiser = torch.optim.AdamW(dino.student.parameters(), lr=1e-3)
    for step in range(3):
        torch.manual_seed(step)
        large = torch.randint(0, 256, (2, 4, 32, 32, 3), dtype=torch.uint8)
        small = torch.randint(0, 256, (1, 4, 32, 32, 3), dtype=torch.uint8)
        optimiser.zero_grad()
        with torch.autocast("cpu", arithmetic, enabled=arithmetic != torch.float32):
            loss = dino(large, small, 0.04).loss
        with kept_statistics(dino.student):
            loss.backward()
        optimiser.step()
        dino.update_teacher(0.9)
    return dino.state_dict()


@pytest.mark.parametrize("arithmetic", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["test_vit.r160_in1k", "test_efficientnet.r160_in1k", "resnet10t"])
def test_the_state_after_some_steps_is_bit_equal(name: str, arithmetic: torch.dtype) -> None:
    kept = trained(name, recompute=False, arithmetic=arithmetic)
    again = trained(name, recompute=True, arithmetic=arithmetic)
    assert kept.keys() == again.keys()
    assert [key for key, value in kept.items() if not torch.equal(value, again[key])] == []
    counts = [value.item() for key, value in again.items() if key.endswith("num_batches_tracked")]
    # Large and small crops, three steps; the teacher's are copies of the student's.
    assert set(counts) <= {6}
    assert bool(counts) == ("vit" not in name)


def test_less_is_kept_for_the_backward_pass() -> None:
    def kept_bytes(*, recompute: bool) -> int:
        backbone = create_backbone("test_vit.r160_in1k", weights="none")
        if recompute:
            recompute_activations(backbone)
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            backbone(torch.randn(8, 3, 96, 96, requires_grad=True)).sum()
        return sum(sizes.values())

    assert kept_bytes(recompute=True) < 0.6 * kept_bytes(recompute=False)


def test_running_statistics_move_in_the_forward_pass_only() -> None:
    layer = nn.BatchNorm2d(3)
    layer(torch.randn(4, 3, 5, 5))
    before = copy.deepcopy(layer.state_dict())
    with kept_statistics(layer):
        layer(torch.randn(4, 3, 5, 5))
    assert all(torch.equal(value, before[key]) for key, value in layer.state_dict().items())
    layer(torch.randn(4, 3, 5, 5))
    assert layer.num_batches_tracked == 2


def test_a_backbone_that_cannot_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = create_backbone("test_vit.r160_in1k", weights="none")

    def cannot(enable: bool) -> None:
        if enable:
            raise AssertionError("gradient checkpointing not supported")

    monkeypatch.setattr(backbone.model, "set_grad_checkpointing", cannot)
    with pytest.raises(SettingsError, match=r"not supported \(test_vit.*Leave out --gradient-checkpointing"):
        recompute_activations(backbone)
