"""Checkpoints: written whole, checked by hash when read, the one before kept."""

from __future__ import annotations

import io
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from hundredfold.rundir import atomic_write, hash_file, write_json

__all__ = ["load_newest", "save_checkpoint"]

KEPT = 2


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write ``step-N.pt``, then ``step-N.json`` with its hash; remove all but the last two.

    A checkpoint counts only with its JSON, so a kill at any moment leaves the one before valid.
    """
    target = folder / f"step-{step:08d}.pt"
    with atomic_write(target) as path:
        # Through memory: torch's writer to a path cannot report a full disk before it closes.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        path.write_bytes(buffer.getvalue())
    write_json(target.with_suffix(".json"), {"step": step, "sha256": hash_file(target)})
    for old in _checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
        old.with_suffix(".pt").unlink(missing_ok=True)


def load_newest(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """The newest checkpoint whose bytes are what was written, or ``None``; warns of those that are not."""
    for note in reversed(_checkpoints(folder)):
        path = note.with_suffix(".pt")
        try:
            facts = json.loads(note.read_text(encoding="utf-8"))
            if hash_file(path) != facts["sha256"]:
                raise ValueError("its bytes are not those that were written")
            state = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError:
            _warn(path, "it holds more than tensors and numbers, and is not loaded")
            continue
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            _warn(path, str(error))
            continue
        return int(facts["step"]), state
    return None


def _warn(path: Path, why: str) -> None:
    warnings.warn(f"{path.name} is damaged ({why}); the checkpoint before it is used", stacklevel=3)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.json"))
