"""The DINO loss, the two ways to keep the teacher from collapse, and KoLeo.

Legend: t teacher views (2), s student views (2 global, then the local ones), b images, k prototypes.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from hundredfold.ssl.collectives import gather_over_ranks, mean_over_ranks

__all__ = ["Centre", "at_least_float32", "dino_loss", "entropy", "koleo", "sinkhorn"]

#: Kinds of devices that have no float64.
WITHOUT_FLOAT64 = {"mps"}


def at_least_float32(values: Tensor) -> Tensor:
    """The values in float32, or in the wider type they have."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def dino_loss(student: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Cross entropy between each student view and every *other* teacher view, averaged.

    Summing the targets a view is compared with first makes it one product a view in place of one
    a pair.

    Args:
        student: logits [s, b, k]; its first t views are the teacher's views, in the same order.
        targets: the teacher's probabilities [t, b, k], without gradient.
        temperature: of the student.

    Returns:
        a scalar: the mean over images and over the t·s - t pairs.

    Source:
        Caron et al. 2021, arXiv 2104.14294, equation 3.

    Examples:
        >>> uniform = torch.full((2, 3, 4), 0.25)
        >>> round(dino_loss(torch.zeros(5, 3, 4), uniform, 0.1).item(), 4)  # log 4
        1.3863
    """
    teachers, images, _ = targets.shape
    views = student.shape[0]
    total = targets.sum(0, keepdim=True)  # [1, b, k]
    wanted = torch.cat([total - targets, total.expand(views - teachers, -1, -1)])  # [s, b, k]
    log_probabilities = functional.log_softmax(at_least_float32(student) / temperature, dim=-1)
    pairs = teachers * views - teachers
    return -(wanted * log_probabilities).sum() / (pairs * images)


class Centre(nn.Module):
    """The running mean of the teacher's logits, subtracted so that no prototype wins everywhere.

    Args:
        prototypes: number of outputs.
        momentum: of the running mean, .9 in the papers.

    Source:
        Caron et al. 2021, arXiv 2104.14294, equation 4.

    Examples:
        >>> centre = Centre(2, momentum=0.9)
        >>> centre.update(torch.tensor([[1.0, 3.0], [3.0, 5.0]]))
        >>> centre.mean
        tensor([0.2000, 0.4000])
    """

    mean: Tensor

    def __init__(self, prototypes: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("mean", torch.zeros(prototypes, dtype=torch.float32))

    def targets(self, logits: Tensor, temperature: float) -> Tensor:
        """Centred and sharpened probabilities of the same shape as ``logits`` [..., k]."""
        return functional.softmax((at_least_float32(logits) - self.mean) / temperature, dim=-1)

    @torch.no_grad()
    def update(self, logits: Tensor) -> None:
        """Move the mean towards that of ``logits`` [..., k], over all ranks."""
        batch = mean_over_ranks(at_least_float32(logits).flatten(0, -2).mean(0))  # [k]
        self.mean.lerp_(batch, 1 - self.momentum)


@torch.no_grad()
def sinkhorn(logits: Tensor, temperature: float, iterations: int = 3) -> Tensor:
    """Probabilities in which every prototype is used equally over the batch (of all ranks).

    Args:
        logits: the teacher's [..., k]; all leading axes together are the batch.
        temperature: of the teacher.
        iterations: of the alternating normalisation.

    Returns:
        probabilities of the same shape; each row sums to 1.

    Source:
        Caron et al. 2020, arXiv 2006.09882, section 3.1; used for DINO in DINOv2, arXiv 2304.07193.

    Examples:
        >>> sinkhorn(torch.zeros(4, 2), 0.1).sum(0)
        tensor([2., 2.])
    """
    rows = logits.flatten(0, -2)  # [n, k]
    shared = _shared_in_logarithms if logits.device.type in WITHOUT_FLOAT64 else _shared
    shares = shared(rows, temperature, iterations)
    return shares.view_as(logits).to(torch.promote_types(logits.dtype, torch.float32))


def _shared(rows: Tensor, temperature: float, iterations: int) -> Tensor:
    # Cosines over a temperature of .02 differ by up to 100, which float32 would round to zero rows.
    scaled = rows.double() / temperature
    joint = (scaled - _over_ranks(scaled.max(), "max")).exp()
    joint /= _over_ranks(joint.sum(), "sum")
    for _ in range(iterations):
        joint /= _over_ranks(joint.sum(0, keepdim=True), "sum").clamp_min(1e-300)
        joint /= joint.sum(1, keepdim=True).clamp_min(1e-300)
    return joint


def _shared_in_logarithms(rows: Tensor, temperature: float, iterations: int) -> Tensor:
    """The same in float32, to 1 in 10,000, on one rank: devices without float64 take no part in several."""
    joint = rows.float() / temperature
    for _ in range(iterations):
        joint = joint.log_softmax(0)
        joint = joint.log_softmax(1)
    return joint.exp()


def koleo(features: Tensor) -> Tensor:
    """Minus the mean log distance of each image to its nearest neighbour in the batch (of all ranks).

    Args:
        features: [b, d] of one view.

    Returns:
        a scalar: the mean over the images of all ranks.

    Source:
        Sablayrolles et al. 2019, arXiv 1806.03198, equation 4; DINOv2, arXiv 2304.07193.

    Examples:
        >>> round(koleo(torch.eye(3)).item(), 4)  # three corners, sqrt(2) apart
        -0.3466
    """
    points = functional.normalize(gather_over_ranks(at_least_float32(features)), dim=-1)
    with torch.no_grad():
        cosines = points @ points.T
        cosines.fill_diagonal_(-2.0)
        nearest = cosines.argmax(1)
    distances = (points - points[nearest]).pow(2).sum(-1).clamp_min(1e-12).sqrt()
    return -distances.clamp_min(1e-8).log().mean()


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy in nats along the last axis; log k for the uniform distribution.

    Examples:
        >>> round(entropy(torch.tensor([0.5, 0.5])).item(), 4)  # log 2
        0.6931
    """
    values: Tensor = torch.special.entr(probabilities)
    return values.sum(-1)


def _over_ranks(value: Tensor, operation: str) -> Tensor:
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(
            value, distributed.ReduceOp.MAX if operation == "max" else distributed.ReduceOp.SUM
        )
    return value
