"""timm, loaded without torch's compiler and without wandb, which take longer than all the rest of it.

torchvision asks the compiler whether the alignment of regions can be compiled, timm tells it of a function
that it is to leave alone, and looks whether wandb is installed. Nothing here compiles a backbone. Who wants
the compiler or wandb imports them, and has them as ever.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

import torch

__all__ = ["standing_in", "timm"]

COMPILER, LOGGER = "torch._dynamo", "wandb"


@contextmanager
def standing_in(name: str, module: ModuleType | None) -> Iterator[None]:
    """Let something stand for a module that is not loaded yet; ``None`` for one that is not there."""
    if name in sys.modules:
        yield
        return
    modules = cast("dict[str, ModuleType | None]", sys.modules)  # None is what Python's own import knows
    modules[name] = module
    try:
        yield
    finally:
        del modules[name]


@contextmanager
def _no_compiler() -> Iterator[None]:
    """Keep the compiler from being loaded by who only mentions it."""
    if COMPILER in sys.modules:
        yield
        return

    def is_compile_supported(device: Any) -> bool:
        from torch._dynamo.utils import is_compile_supported as supported

        return bool(supported(device))

    def left_alone(function: Callable[..., Any], **_: Any) -> Callable[..., Any]:
        return function

    module, disable = ModuleType(f"{COMPILER}.utils"), torch.compiler.disable
    vars(module)["is_compile_supported"] = is_compile_supported
    vars(torch.compiler)["disable"] = left_alone
    try:
        with standing_in(f"{COMPILER}.utils", module):
            yield
    finally:
        vars(torch.compiler)["disable"] = disable


with _no_compiler(), standing_in(LOGGER, None):
    import timm
