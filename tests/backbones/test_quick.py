"""What one answer needs is loaded, and no compiler; who wants that has it as ever."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
import numpy as np
from hundredfold.backbones.backbone import create_backbone
from hundredfold.encode.encoder import Encoder
from hundredfold.predict.predictor import Predictor
backbone = create_backbone("vit_tiny_patch16_224", weights="none")
encoder = Encoder(backbone, size=32, value_range=None, fit="pad", provenance={}, seen=frozenset())
encoder.encode(np.zeros((1, 32, 32, 3), np.uint8))
loaded = {"torch._dynamo", "torch._dynamo.utils", "wandb", "matplotlib"} & set(sys.modules)
assert not loaded, loaded

import torch
from torch import nn
from torch._dynamo.utils import counters
from torchvision.ops.roi_align import is_compile_supported
assert is_compile_supported("cpu") == torch._dynamo.utils.is_compile_supported("cpu")
assert torch.compiler.disable.__module__ == "torch.compiler"
compiled = torch.compile(nn.Linear(2, 2), backend="eager")
assert compiled(torch.zeros(1, 2)).shape == (1, 2)
"""


def test_an_answer_loads_no_compiler_and_who_wants_it_has_it() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


TRAINS = """
import sys
from hundredfold.ssl.trainer import Trainer
from hundredfold.ssl.device import create_fabric
create_fabric("float32")
loaded = {"torchmetrics", "transformers"} & set(sys.modules)
assert not loaded, loaded

import torchmetrics
assert torchmetrics.Metric is not None
"""


def test_a_training_loads_no_metrics_and_no_transformers_and_who_wants_them_has_them() -> None:
    done = subprocess.run([sys.executable, "-c", TRAINS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
