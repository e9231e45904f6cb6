"""Trains a few steps of DINO with one of the programs that are compared, and writes what they took as JSON.

::

    python contenders.py '{"program": "hundredfold", "images": "images", "backbone": "resnet18", …}'

``compare.py`` calls it: ours in our environment, the others in theirs. Each program runs as its users run it,
with its own reading of files, views, workers and loop. A step is what lies between two updates of its
optimiser, seen from outside by a hook that torch has for every optimiser: nothing is changed to be timed.

The original and the reference were written for CUDA. What is replaced to run them on a CPU, and nothing else:

- ``Tensor.cuda``, ``Module.cuda``, ``torch.cuda.synchronize``: leave everything where it is;
- ``DistributedDataParallel`` without ``device_ids``, in a group of one process over gloo (the original);
- ``SyncBatchNorm.convert_sync_batchnorm``: gives the module back; one process has no need of it;
- ``torch.hub.list``: empty, there is no network (the original);
- ``torch.cuda.amp.autocast``: bfloat16 on the CPU where that is asked for, else nothing; no gradient scaler.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

BEGAN = time.monotonic()
Given = Mapping[str, Any]


def hundredfold(given: Given) -> None:
    """The verb ``pretrain`` on a folder that is scanned first, as ``run`` does."""
    import hundredfold as program

    program.pretrain(
        given["images"], out=f"{given['folder']}/run", weights="none", modality="natural", epochs=1000,
        backbone=given["backbone"], batch_size=given["batch"], image_size=given["image_size"],
        local_size=given["local_size"], local_crops=given["local_crops"], prototypes=given["outputs"],
        precision={"default": "auto", "float32": "float32", "bfloat16": "bfloat16"}[given["precision"]],
    )


def lightly_train(given: Given) -> None:
    """LightlyTrain, by its public function."""
    import lightly_train as program

    precision = {"default": "auto", "float32": "32-true", "bfloat16": "bf16-mixed"}[given["precision"]]
    program.pretrain(
        out=f"{given['folder']}/out", data=given["images"], model=f"timm/{given['backbone']}", method="dino",
        epochs=1000, batch_size=given["batch"], precision=precision, accelerator="cpu",
        method_args={"output_dim": given["outputs"]},
        transform_args={
            "image_size": (given["image_size"],) * 2,
            "local_view": {
                "num_views": given["local_crops"], "view_size": (given["local_size"],) * 2,
            },
        },
    )


def original(given: Given) -> None:
    """main_dino.py of Caron et al. 2021, from a folder of its repository."""
    import torch
    from torch import nn

    sys.path.insert(0, given["source"])
    _without_cuda(given)
    torch.hub.list = lambda *_, **__: []
    nn.SyncBatchNorm.convert_sync_batchnorm = staticmethod(lambda module, *_: module)
    parallel = nn.parallel.DistributedDataParallel
    nn.parallel.DistributedDataParallel = lambda module, **_: parallel(module)
    import main_dino as program

    def one_process(_: object) -> None:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{given['folder']}/group", rank=0, world_size=1
        )

    program.utils.init_distributed_mode = one_process
    arch = {"vit_tiny_patch16_224": "vit_tiny"}.get(given["backbone"], given["backbone"])
    options = program.argparse.ArgumentParser(parents=[program.get_args_parser()]).parse_args([
        "--arch", arch, "--patch_size", "16", "--out_dim", str(given["outputs"]), "--epochs", "1000",
        "--local_crops_number", str(given["local_crops"]), "--batch_size_per_gpu", str(given["batch"]),
        "--data_path", given["images"], "--output_dir", given["folder"], "--num_workers", str(_workers()),
        "--use_fp16", str(given["precision"] == "bfloat16"),
    ])
    options.gpu = None
    program.train_dino(options)


def reference(given: Given) -> None:
    """The training of Nielsen et al. 2023 (sparsam), from a folder of its repository."""
    sys.path.insert(0, given["source"])
    _without_cuda(given)
    import timm
    from PIL import Image
    from sparsam.dataset import BaseSet
    from sparsam.train import create_dino_gym

    paths = sorted(path for path in Path(given["images"]).rglob("*") if path.is_file())

    class Images(BaseSet):  # type: ignore[misc]
        def __len__(self) -> int:
            return len(paths)

        def _get_image_label_pair(self, index: int) -> tuple[Image.Image, int]:
            return Image.open(paths[index]).convert("RGB"), 0

    # Two sizes of crops: a vision transformer of timm must be told, as its authors' own takes any size.
    any_size = {"dynamic_img_size": True} if given["backbone"].startswith("vit") else {}
    backbone = timm.create_model(given["backbone"], num_classes=0, **any_size)
    backbone.embed_dim = backbone.num_features
    create_dino_gym(
        unalabeled_train_set=Images(), backbone_model=backbone, device="cpu", n_trainings_epochs=1000,
        image_resolution=given["image_size"], n_local_crops=given["local_crops"],
        projection_head_out_dim=given["outputs"],
        unlabeled_train_loader_parameters={
            "batch_size": given["batch"], "num_workers": _workers(), "shuffle": True, "drop_last": True,
        },
    ).train()


PROGRAMS: dict[str, Callable[[Given], None]] = {
    "hundredfold": hundredfold, "lightly-train": lightly_train, "original": original, "reference": reference,
}


def _without_cuda(given: Given) -> None:
    import torch

    torch.Tensor.cuda = lambda self, *_, **__: self
    torch.nn.Module.cuda = lambda self, *_, **__: self
    torch.cuda.synchronize = lambda *_: None

    low = given["precision"] == "bfloat16"
    torch.cuda.amp.autocast = functools.partial(torch.autocast, "cpu", torch.bfloat16, low)

    class NoScaler:
        """bfloat16 has the range of float32: nothing to scale."""

        def scale(self, loss: Any) -> Any:
            return loss

        def unscale_(self, _: object) -> None: ...

        def step(self, optimizer: Any) -> None:
            optimizer.step()

        def update(self) -> None: ...

        def state_dict(self) -> dict[str, Any]:
            return {}

    torch.cuda.amp.GradScaler = NoScaler


def _workers() -> int:
    return os.cpu_count() or 1


class _Clock:
    """Notes when each update ended, and ends the program after as many as were asked for."""

    def __init__(self, given: Given, parts: Mapping[str, float]) -> None:
        self.given, self.parts = given, parts
        self.ends: list[float] = []
        self.earlier: dict[str, float] = {}

    def __call__(self, *_: object) -> None:
        self.ends.append(time.monotonic())
        if len(self.ends) == 1:
            self.earlier = dict(self.parts)
        if len(self.ends) <= self.given["steps"]:
            return
        seconds = [after - before for before, after in zip(self.ends, self.ends[1:], strict=False)]
        both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        memory = sum(resource.getrusage(who).ru_maxrss for who in both)
        parts = {
            name: (value - self.earlier.get(name, 0)) / len(seconds) for name, value in self.parts.items()
        }
        result = {
            "seconds": seconds, "first_step": self.ends[0] - BEGAN, "peak_mb": memory / 1024, "parts": parts,
        }
        Path(self.given["folder"], "result.json").write_text(json.dumps(result), encoding="utf-8")
        os._exit(0)  # not SystemExit: the programs catch it, and their workers would be waited for


def main() -> None:
    """Run the program that the first argument describes."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    given: Given = json.loads(sys.argv[1])
    parts: dict[str, float] = {}
    if given["program"] == "hundredfold":
        from parts import watch

        parts = watch()
    register_optimizer_step_post_hook(_Clock(given, parts))
    PROGRAMS[given["program"]](given)


if __name__ == "__main__":
    main()
