"""Checkpoints: a folder a save, written whole, checked when read; the last two and the best are kept."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from hundredfold.errors import InputError, ModelFileError, RunExistsError
from hundredfold.files import atomic_folder, atomic_write, remove_folder, remove_leftovers, write_json
from hundredfold.rundir import CHECKPOINT_FOLDERS

__all__ = ["Checkpoints"]

NOTE = "checkpoint.json"
STATE = "state.pt"
FAULT = "not_finite.json"
#: Of the last saves, so that one may be damaged.
KEPT = 2
UNREADABLE = (OSError, ValueError, KeyError, TypeError, RuntimeError)
FULL = (errno.ENOSPC, errno.EDQUOT)


class Checkpoints:
    """The saves of one run: ``step-N/`` holds ``state.pt``, ``checkpoint.json`` and an encoder.

    A folder is renamed into place when all of it is on the disk, so whoever reads sees a whole one or none.
    The last two are kept, and the one with the best score. The score is the kNN balanced accuracy on
    labelled training images. Without labels there is no best: the loss is no measure of it, because its
    target is the teacher, which changes with the student, and a collapsed network has the lowest loss of all.

    Args:
        folder: where they are.
        identify: says what makes the run what it is: name of a part → its hash or value. Asked again at
            every save, so that nothing is saved once the material changed.

    Examples:
        >>> import tempfile
        >>> saves = Checkpoints(Path(tempfile.mkdtemp()), lambda: {"seed": 0})
        >>> for step, score in enumerate([0.5, 0.9, 0.7, 0.6, 0.8]):
        ...     saves.save(step, {"weight": torch.ones(1)}, score=score)
        >>> [folder.name for folder in saves.folders()], saves.best()
        (['step-00000001', 'step-00000003', 'step-00000004'], (1, 0.9))
    """

    def __init__(self, folder: Path, identify: Callable[[], Mapping[str, object]]) -> None:
        self.folder, self.identify = folder, identify
        self.run = dict(identify())

    def folders(self) -> list[Path]:
        """Those that are there, the oldest first."""
        return sorted(self.folder.glob(CHECKPOINT_FOLDERS))

    def path(self, step: int) -> Path:
        """The folder of a step."""
        return self.folder / f"step-{step:08d}"

    def check_none(self) -> None:
        """Make sure that a new run begins in an empty folder.

        Raises:
            RunExistsError: there are checkpoints.
        """
        if found := self.folders():
            raise RunExistsError(
                f"there are checkpoints already, the last of step {_step(found[-1])}", where=self.folder,
                remedy="Continue them with --resume, or choose another --out.",
            )

    def save(
        self, step: int, state: dict[str, Any], *, score: float | None = None,
        encoder: Callable[[Path], None] | None = None,
    ) -> None:
        """Write a checkpoint, then remove those that are no longer kept.

        Args:
            step: steps that are done.
            state: tensors and numbers; nothing else is read again.
            score: the larger the better, if it was measured at this step.
            encoder: writes the encoder of this step into the folder it is given.

        Raises:
            InputError: the run is no longer what it was when it began.
            OSError: it cannot be written; those before it stay as they are.
        """
        if names := _differing(self.identify(), self.run):
            raise InputError(
                f"changed while the training went on: {names}; step {step} is not saved", where=self.folder,
                remedy="Bring back what the run was begun with, then continue with --resume.",
            )
        # Through memory: torch's writer to a path cannot report a full disk before it closes.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        content = buffer.getbuffer()
        with atomic_folder(self.path(step)) as folder:
            with atomic_write(folder / STATE) as path:
                path.write_bytes(content)
            if encoder is not None:
                encoder(folder)
            write_json(folder / NOTE, {
                "step": step, "score": score, "run": self.run, "sha256": _hash(content, self.run),
            })
        self._prune()

    def load(self) -> tuple[int, dict[str, Any]] | None:
        """Step and state of the newest one whose bytes are what was written; ``None`` where there is none.

        Damaged ones are warned of, and removed once a good one is found before them.

        Raises:
            ModelFileError: all of them are damaged.
            InputError: one is of another run, or the images changed since.
        """
        remove_leftovers(self.folder)
        damaged: dict[Path, str] = {}
        for folder in reversed(self.folders()):
            try:
                found = self._read(folder)
            except pickle.UnpicklingError:
                damaged[folder] = "it holds more than tensors and numbers, and is not loaded"
            except UNREADABLE as error:
                damaged[folder] = str(error)
            else:
                for path, why in damaged.items():
                    warnings.warn(f"{path} is damaged ({why}); the one before it is used", stacklevel=2)
                    remove_folder(path)
                return found
        if damaged:
            told = "; ".join(f"{path.name}: {why}" for path, why in damaged.items())
            raise ModelFileError(
                f"no checkpoint can be read: {told}", where=self.folder,
                remedy="Bring one back from a copy, or delete the folder: --resume then begins at step 0.",
            )
        return None

    def best(self) -> tuple[int, float] | None:
        """Step and score of the best that is kept; of equal ones, the last."""
        scored = [(note["score"], note["step"]) for note in self._notes() if note.get("score") is not None]
        return max(scored)[::-1] if scored else None

    def is_better(self, score: float | None) -> bool:
        """Whether a score beats all that are kept."""
        return score is not None and ((best := self.best()) is None or score > best[1])

    def note_fault(self, step: int, images: Sequence[str]) -> str:
        """List the images of a step that went wrong in ``not_finite.json``, and say what can be done.

        A checkpoint of that very step may have given the fault: it is removed if a number in it is not finite
        and there is one before it.
        """
        listed = self.folder / FAULT
        write_json(listed, {"step": step, "images": list(images)})
        before = [folder for folder in self.folders() if _step(folder) <= step]
        if before and _step(before[-1]) == step and not self._is_finite(before[-1]):
            suspect = before.pop()
            if before:
                remove_folder(suspect)
        if not before:
            return f"No state was saved before it. Look at the images, all named in {listed}."
        return (
            f"The last good state is {before[-1]}. Look at the images, all named in {listed}, or begin a new "
            f"run with a lower --learning-rate and --weights {before[-1]}."
        )

    @contextmanager
    def told_when_full(self) -> Iterator[None]:
        """Let the error of a full disk say from where a resume goes on.

        Raises:
            OSError: the one that came, in other words.
        """
        try:
            yield
        except OSError as error:
            if error.errno not in FULL:
                raise
            found = self.folders()
            last = f"the last checkpoint is of step {_step(found[-1])}" if found else "no checkpoint yet"
            place = str(error.filename or self.folder)
            raise OSError(error.errno, f"{error.strerror}; {last}", place) from error

    def _is_finite(self, folder: Path) -> bool:
        """Whether all its numbers are; of one that cannot be read :meth:`load` tells."""
        try:
            _, state = self._read(folder)
        except UNREADABLE:
            return True
        return all(bool(tensor.isfinite().all()) for tensor in _tensors(state))

    def _read(self, folder: Path) -> tuple[int, dict[str, Any]]:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        content = (folder / STATE).read_bytes()
        if _hash(content, note["run"]) != note["sha256"]:
            raise ValueError("its bytes are not those that were written")
        self._check_run(folder, note["run"])
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return int(note["step"]), state

    def _check_run(self, folder: Path, run: Mapping[str, object]) -> None:
        if names := _differing(run, self.run):
            raise InputError(
                f"the checkpoint is of another run, or its material changed: it differs in {names}",
                where=folder,
                remedy="Bring back what it was made with, or delete it: --resume takes the one before it, or "
                "begins at step 0.",
            )

    def _notes(self) -> Iterator[dict[str, Any]]:
        for folder in self.folders():
            try:
                yield dict(json.loads((folder / NOTE).read_text(encoding="utf-8")))
            except (OSError, ValueError):  # damaged: load() tells
                continue

    def _prune(self) -> None:
        remove_leftovers(self.folder)
        best = self.best()
        for folder in self.folders()[:-KEPT]:
            if best is None or folder != self.path(best[0]):
                remove_folder(folder)


def _tensors(value: object) -> Iterator[torch.Tensor]:
    """The tensors of a state, at whatever depth."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)


def _differing(found: Mapping[str, object], expected: Mapping[str, object]) -> str:
    names = {**found, **expected}
    return ", ".join(name for name in names if found.get(name) != expected.get(name))


def _hash(content: bytes | memoryview, run: Mapping[str, object]) -> str:
    found = hashlib.sha256(json.dumps(run, sort_keys=True).encode())
    found.update(content)
    return found.hexdigest()


def _step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])
