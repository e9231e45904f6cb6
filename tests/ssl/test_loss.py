"""Loss, centre, Sinkhorn and KoLeo against lightly's implementations and plain numpy (mistake 13)."""

import math
import multiprocessing
import socket
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightly.loss.dino_loss import DINOLoss
from lightly.loss.koleo_loss import KoLeoLoss
from lightly.loss.swav_loss import sinkhorn as lightly_sinkhorn
from torch import distributed
from torch.utils._python_dispatch import TorchDispatchMode

from hundredfold.ssl import loss as loss_module
from hundredfold.ssl.loss import Centre, dino_loss, entropy, koleo, sinkhorn

#: Logits of ±1 over a temperature of .1 lie 20 apart; a log-softmax of float32 is off by that many roundings
#: at the most, and a loss near 0 (two prototypes, a sure student) is made of nothing else.
ROUNDING = 20 * torch.finfo(torch.float32).eps  # 2.4e-6


@given(st.integers(0, 8), st.integers(1, 7), st.integers(2, 40), st.integers(0, 10**6))
def test_loss_and_centre_are_lightlys_over_several_steps(local: int, images: int, k: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    oracle = DINOLoss(output_dim=k, teacher_temp=0.03, student_temp=0.1, center_momentum=0.9)
    centre = Centre(k, momentum=0.9)
    for _ in range(3):
        teacher = torch.rand(2, images, k, generator=generator) * 2 - 1
        student = torch.rand(2 + local, images, k, generator=generator) * 2 - 1
        expected = oracle(list(teacher), list(student), teacher_temp=0.03)
        found = dino_loss(student, centre.targets(teacher, 0.03), 0.1)
        centre.update(teacher)
        assert found.item() == pytest.approx(expected.item(), rel=1e-4, abs=ROUNDING)
        torch.testing.assert_close(centre.mean, oracle.center.flatten(), rtol=1e-5, atol=1e-6)


def test_the_loss_is_the_papers_double_sum() -> None:
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(5, 3, 7)), rng.dirichlet(np.ones(7), size=(2, 3))
    log_p = student / 0.1 - np.log(np.exp(student / 0.1).sum(-1, keepdims=True))
    pairs = [-(teacher[t] * log_p[s]).sum(-1).mean() for t in range(2) for s in range(5) if s != t]
    found = dino_loss(torch.from_numpy(student), torch.from_numpy(teacher).float(), 0.1)
    assert found.item() == pytest.approx(np.mean(pairs), rel=1e-5)


def test_no_gradient_reaches_a_view_from_its_own_target() -> None:
    student = torch.zeros(2, 1, 3, requires_grad=True)
    targets = torch.tensor([[[1.0, 0, 0]], [[0, 1.0, 0]]])
    dino_loss(student, targets, 1.0).backward()
    assert student.grad is not None
    # View 0 is drawn to target 1 (the second prototype) alone, and the other way round.
    assert student.grad[0].argmin() == 1
    assert student.grad[1].argmin() == 0


def test_the_centre_stays_in_float32() -> None:
    centre = Centre(4, momentum=0.9)
    centre.update(torch.full((2, 3, 4), 1.001, dtype=torch.bfloat16))
    assert centre.mean.dtype == torch.float32
    assert centre.targets(torch.zeros(3, 4, dtype=torch.bfloat16), 0.02).dtype == torch.float32


def _rank(rank: int, port: int, results: "multiprocessing.Queue[tuple[int, list[float], float]]") -> None:
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    centre = Centre(2, momentum=0.5)
    centre.update(torch.tensor([[float(rank), 4.0 * rank]]))
    whole = torch.linspace(-1, 1, 24).view(6, 4)
    part = sinkhorn(whole[rank * 3 : rank * 3 + 3], 0.1)
    difference = part - sinkhorn_alone(whole)[rank * 3 : rank * 3 + 3]
    results.put((rank, centre.mean.tolist(), difference.abs().max().item()))
    distributed.destroy_process_group()


def sinkhorn_alone(logits: torch.Tensor) -> torch.Tensor:
    """The plain numpy restatement, on one process."""
    joint = np.exp(logits.double().numpy() / 0.1)
    for _ in range(3):
        joint /= joint.sum(0, keepdims=True)
        joint /= joint.sum(1, keepdims=True)
    return torch.from_numpy(joint).float()


def test_centre_and_sinkhorn_are_taken_over_all_ranks() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    ranks = [context.Process(target=_rank, args=(rank, port, results)) for rank in range(2)]
    for process in ranks:
        process.start()
    found = [results.get(timeout=120) for _ in ranks]
    for process in ranks:
        process.join()
    for _, mean, deviation in found:
        assert mean == pytest.approx([0.25, 1.0])
        assert deviation < 1e-6


@given(st.integers(2, 12), st.integers(2, 12), st.integers(0, 10**6))
def test_sinkhorn_is_lightlys(images: int, k: int, seed: int) -> None:
    logits = torch.rand(images, k, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    expected = lightly_sinkhorn(logits, iterations=3, epsilon=0.1)
    torch.testing.assert_close(sinkhorn(logits, 0.1), expected, rtol=1e-3, atol=1e-5)


class Float32Only(TorchDispatchMode):
    """Refuses float64, as MPS does."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64:
            raise TypeError("no float64")
        return result


@pytest.mark.parametrize("temperature", [0.1, 0.02])
def test_without_float64_sinkhorn_is_the_same_to_1_in_10000(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    cosines = torch.rand(2, 32, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    expected = sinkhorn(cosines, temperature)
    with Float32Only(), pytest.raises(TypeError):
        sinkhorn(cosines, temperature)
    monkeypatch.setattr(loss_module, "WITHOUT_FLOAT64", {"cpu"})
    with Float32Only():
        found = sinkhorn(cosines, temperature)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-12)
    assert expected.max() / expected.min() > (1e30 if temperature < 0.1 else 1e6)


def test_sinkhorn_survives_sharp_temperatures() -> None:
    logits = torch.tensor([[1.0, -1.0, -1.0], [-1.0, -1.0, -0.99], [-1.0, 0.5, -1.0]])
    found = sinkhorn(logits, 0.01)
    torch.testing.assert_close(found.sum(1), torch.ones(3))


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 10**6))
def test_koleo_is_lightlys(images: int, dimension: int, seed: int) -> None:
    features = torch.randn(images, dimension, generator=torch.Generator().manual_seed(seed))
    assert koleo(features).item() == pytest.approx(KoLeoLoss()(features).item(), abs=1e-3)


def test_entropy_at_its_extremes() -> None:
    assert entropy(torch.full((8,), 1 / 8)).item() == pytest.approx(math.log(8))
    assert entropy(torch.tensor([1.0, 0.0])).item() == 0
