"""Pre-trains with hundredfold or LightlyTrain as their users do, and notes what every step took.

::

    python accuracy_runs.py '{"program": "lightly-train", "images": "training", "steps": 300, …}'

``time_to_accuracy.py`` calls it: hundredfold in our environment, LightlyTrain in its own. A step is what lies
between two updates of the optimiser, seen by a hook that torch has for every optimiser. LightlyTrain is AGPL:
it is run by its public functions, and none of it is kept here. It is told what the two must share (backbone,
start weights and their normalisation, sizes of the crops, number of steps); all else is its own default.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

Given = Mapping[str, Any]
BATCH = 128  # LightlyTrain's default; its epoch leaves an incomplete batch out


def hundredfold(given: Given) -> None:
    """The verb ``pretrain``; a run that was begun is continued, with the steps that it planned then."""
    import hundredfold as program

    out = Path(given["out"])
    program.pretrain(
        given["images"], labels=given["labels"], out=out, backbone=given["backbone"],
        weights=given["weights"], minutes=given["minutes"], epochs=given["epochs"],
        modality=given["modality"], seed=given["seed"], resume=out.exists(),
    )


def lightly_train(given: Given) -> None:
    """LightlyTrain's DINO, by its public function; it, too, continues a run that was begun."""
    os.environ["LIGHTLY_TRAIN_EVENTS_DISABLED"] = "1"
    import lightly_train as program

    an_epoch = max(1, sum(1 for _ in Path(given["images"]).iterdir()) // BATCH)
    resume = Path(given["out"], "checkpoints", "last.ckpt").exists()
    # The steps end it; the epochs only have to be enough, also where a continued run counts one twice.
    program.pretrain(
        out=given["out"], data=given["images"], model=Wrapper(given["backbone"], given["weights"]),
        method="dino", batch_size=BATCH, accelerator="cpu" if given["stop_after"] else "auto",
        overwrite=not resume, resume_interrupted=resume, seed=given["seed"],
        epochs=2 * (given["steps"] // an_epoch + 1), trainer_args={"max_steps": given["steps"]},
        # Timed as it comes; afterwards on a CPU without workers: they are forked anew in each epoch, and so
        # its 11 GB may come to be in memory twice.
        **({} if given["stop_after"] or torch.cuda.is_available() else {"num_workers": 0}),
        transform_args={
            "image_size": (given["image_size"],) * 2,
            "local_view": {"view_size": (given["local_size"],) * 2},
            "normalize": {"mean": tuple(given["mean"]), "std": tuple(given["std"])},
        },
    )


PROGRAMS: dict[str, Callable[[Given], None]] = {"hundredfold": hundredfold, "lightly-train": lightly_train}


class Wrapper(nn.Module):
    """A timm model as what LightlyTrain's documentation calls a custom model.

    Its own wrapper of timm models ends before the last convolution of an EfficientNet: it gives 320 channels
    where its head expects the model's 1,280, and training fails.
    """

    def __init__(self, name: str, weights: str) -> None:
        super().__init__()
        self.model = timm.create_model(name, num_classes=0)
        if missing := self.model.load_state_dict(load_file(weights), strict=False).missing_keys:
            raise ValueError(f"no start weights for {missing}")

    def get_model(self) -> nn.Module:
        """What is exported."""
        return self.model

    def feature_dim(self) -> int:
        """Channels of the features."""
        return int(self.model.num_features)

    def forward_features(self, images: Tensor) -> dict[str, Tensor]:
        """Images [b,3,h,w] → a map of features [b,c,h/32,w/32]."""
        return {"features": self.model.forward_features(images)}

    def forward_pool(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """The map → its mean [b,c,1,1]."""
        return {"pooled_features": self.model.global_pool(found["features"])[:, :, None, None]}


class _Clock:
    """Appends what each update took to a file, and ends the program after as many as were asked for."""

    def __init__(self, given: Given) -> None:
        self.given, self.done, self.last = given, 0, time.monotonic()

    def __call__(self, optimiser: Any, *_: object) -> None:
        now = time.monotonic()
        self.done += 1
        row = {"seconds": round(now - self.last, 4), "learning_rate": optimiser.param_groups[0]["lr"]}
        self.last = now
        with Path(self.given["times"]).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.done == self.given["stop_after"]:
            os._exit(0)  # not SystemExit: the programs catch it, and their workers would be waited for


def main() -> None:
    """Run the program that the first argument describes."""
    given: Given = json.loads(sys.argv[1])
    register_optimizer_step_post_hook(_Clock(given))
    PROGRAMS[given["program"]](given)


if __name__ == "__main__":
    main()
