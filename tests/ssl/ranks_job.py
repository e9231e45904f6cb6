"""What torchrun starts in test_ranks.py: a BatchNorm check, or several pre-trainings in one program.

``torchrun … ranks_job.py JOB`` reads a JSON file: a list of settings of ``hundredfold.pretrain``. With
``spoilt`` the loss of rank 1 is NaN at that step, and what each rank is told is written beside the run.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d
from torch import nn

import hundredfold
from hundredfold.errors import TrainingError
from hundredfold.ranks import rank, ranks
from hundredfold.ssl.collectives import joined
from hundredfold.ssl.dino import DINO, Outputs
from hundredfold.ssl.syncbatchnorm import synchronise_batchnorm

#: kind of layer → the layer, and the shape of a whole batch
LAYERS = {
    "maps": (lambda: nn.BatchNorm2d(3), (8, 3, 5, 4)),
    "vectors": (lambda: nn.BatchNorm1d(3), (8, 3)),
    "activated": (lambda: BatchNormAct2d(3, act_layer=nn.SiLU), (8, 3, 5, 4)),
    "frozen": (lambda: nn.BatchNorm2d(3, momentum=0.0), (8, 3, 5, 4)),
    "average": (lambda: nn.BatchNorm2d(3, momentum=None), (8, 3, 5, 4)),
}


def batchnorm(kind: str, *, shared: bool) -> dict[str, Any]:
    """Two steps in float64: outputs, gradients and running statistics, of this rank's share."""
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    layer = make().double()
    torch.nn.init.uniform_(layer.weight)
    if shared:
        assert synchronise_batchnorm(layer, "cpu") == 1
    found = {}
    for step in range(2):
        # A mean of 1e6 beside a spread of 1: where the variance is computed carelessly it is lost.
        whole = torch.randn(shape, dtype=torch.float64) + 1e6
        weights = torch.randn(shape, dtype=torch.float64)
        own = slice(rank(), None, ranks()) if shared else slice(None)
        maps = whole[own].clone().requires_grad_()
        layer.zero_grad()
        out = layer(maps)
        (out * weights[own]).sum().backward()
        found |= {f"out{step}": out.detach(), f"into{step}": maps.grad}
        found[f"weight{step}"] = layer.weight.grad.clone()
    layer.eval()
    return found | {"state": layer.state_dict(), "plain": layer(torch.ones(shape, dtype=torch.float64))}


def spoil(job: dict[str, Any]) -> None:
    step, forward, seen = job.pop("spoilt"), DINO.forward, [0]

    def spoilt(self: DINO, *views: Any) -> Outputs:
        outputs = forward(self, *views)
        seen[0] += 1
        bad = rank() == 1 and seen[0] == step + 1
        return outputs._replace(loss=outputs.loss * float("nan")) if bad else outputs

    DINO.forward = spoilt  # type: ignore[method-assign]
    try:
        hundredfold.pretrain(**job)
    except TrainingError as error:
        Path(f"{job['out']}.{rank()}.txt").write_text(str(error), encoding="utf-8")
    finally:
        DINO.forward = forward  # type: ignore[method-assign]


def main(path: Path) -> None:
    for job in json.loads(path.read_text()):
        if "batchnorm" in job:
            with joined():
                torch.save(batchnorm(job["batchnorm"], shared=True), f"{job['out']}.{rank()}.pt")
        elif "spoilt" in job:
            spoil(job)
        else:
            hundredfold.pretrain(**job)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
