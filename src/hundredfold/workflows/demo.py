"""``demo``: the whole chain on images that the package draws itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hundredfold.config import DemoSettings, RunSettings, verb
from hundredfold.progress import say
from hundredfold.rundir import RunDirectory

__all__ = ["SETTINGS", "demo"]

IMAGES = 1500
SIZE = 64

#: Small enough for a few minutes on two CPU cores, from random weights: nothing is downloaded.
SETTINGS: Mapping[str, Any] = {
    "backbone": "resnet10t",
    "weights": "none",
    "epochs": 20,
    "batch_size": 64,
    "image_size": 48,
    "prototypes": 256,
    "head_hidden": 512,
    "budgets": (1, 5, 10, 25, 50),
    "repeats": 3,
    "bootstrap": 200,
}


@verb(DemoSettings)
def demo(settings: DemoSettings) -> RunDirectory:
    """Run the whole chain on a synthetic blood smear.

    Draws the smear into ``OUT/smear`` (images and labels.csv), then does what ``run`` does. From
    random weights: a real run starts from pre-trained ones and reaches more.

    Raises:
        RunExistsError: OUT holds a run already and ``resume`` is not set.
    """
    from hundredfold.data.smear import draw_smear
    from hundredfold.workflows.run import run

    directory = RunDirectory.create(settings.out)
    smear = directory / "smear"
    if not directory.state["stages"]:
        say(f"Drawing a synthetic blood smear of {IMAGES:,} cells: {smear}")
        draw_smear(smear, images=IMAGES, size=SIZE, seed=settings.seed)
    chosen = {"images": smear / "images", "labels": smear / "labels.csv", **SETTINGS}
    return run(settings.part(RunSettings, **chosen))
