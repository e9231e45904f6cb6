"""Where the time of our step goes, by wrapping the functions that its parts are."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any


def timed(seconds: dict[str, float], owner: Any, name: str, part: str | Callable[[Any], str]) -> None:
    """Let ``seconds`` know how long a function takes, by ``part`` or what it makes of the first argument."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def outer(*given: Any, **named: Any) -> Any:
        began = time.monotonic()
        try:
            return inner(*given, **named)
        finally:
            key = part if isinstance(part, str) else part(given[0])
            seconds[key] = seconds.get(key, 0.0) + time.monotonic() - began

    setattr(owner, name, outer)


def watch() -> dict[str, float]:
    """Wrap the parts of a step; the seconds spent in each since are in what is returned."""
    from lightning_fabric import Fabric
    from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

    from hundredfold.ssl import dino, trainer
    from hundredfold.ssl.batches import ViewBatches

    seconds: dict[str, float] = {}
    timed(seconds, ViewBatches, "__getitem__", "views")
    timed(
        seconds, dino.Branch, "forward",
        lambda branch: "student forward" if branch.training else "teacher forward",
    )
    timed(seconds, dino, "sinkhorn", "loss")
    timed(seconds, dino, "dino_loss", "loss")
    timed(seconds, Fabric, "backward", "backward")
    timed(seconds, trainer, "prepare_step", "optimiser")
    timed(seconds, trainer, "clip_gradients", "optimiser")
    timed(seconds, dino.DINO, "update_teacher", "EMA")
    began = [0.0]

    def before(*_: object) -> None:
        began[0] = time.monotonic()

    def after(*_: object) -> None:
        seconds["optimiser"] = seconds.get("optimiser", 0.0) + time.monotonic() - began[0]

    register_optimizer_step_pre_hook(before)
    register_optimizer_step_post_hook(after)
    return seconds
