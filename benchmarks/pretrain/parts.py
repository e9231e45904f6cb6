"""Where the time of our step goes, by wrapping the functions that its parts are."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any


def watch() -> dict[str, float]:
    """Wrap the parts of a step; the seconds spent in each since are in what is returned."""
    from lightning_fabric import Fabric
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    from hundredfold.ssl import dino, trainer
    from hundredfold.ssl.batches import ViewBatches

    seconds: dict[str, float] = defaultdict(float)

    def timed(owner: Any, name: str, part: str | Callable[[Any], str]) -> None:
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def outer(*given: Any, **named: Any) -> Any:
            began = time.monotonic()
            try:
                return inner(*given, **named)
            finally:
                seconds[part if isinstance(part, str) else part(given[0])] += time.monotonic() - began

        setattr(owner, name, outer)

    timed(ViewBatches, "__getitem__", "views")
    timed(dino.Branch, "forward", lambda branch: "student forward" if branch.training else "teacher forward")
    timed(dino, "sinkhorn", "loss")
    timed(dino, "dino_loss", "loss")
    timed(Fabric, "backward", "backward")
    timed(trainer, "prepare_step", "optimiser")
    timed(trainer, "clip_gradients", "optimiser")
    timed(dino.DINO, "update_teacher", "EMA")
    began = [0.0]

    def before(*_: object) -> None:
        began[0] = time.monotonic()

    def after(*_: object) -> None:
        seconds["optimiser"] += time.monotonic() - began[0]

    register_optimizer_step_pre_hook(before)
    register_optimizer_step_post_hook(after)
    return seconds
