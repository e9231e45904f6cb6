"""A run on disk: created once, resumed, never overwritten."""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self, TypeGuard

import yaml

from hundredfold.config.base import Settings
from hundredfold.errors import InputError, RunExistsError, RunMissingError
from hundredfold.files import write_json, write_text
from hundredfold.lock import alone
from hundredfold.ranks import is_first
from hundredfold.url import Url

__all__ = ["CHECKPOINT_FOLDERS", "RunDirectory", "software"]

SCHEMA_VERSION = 1
#: The saves of a training, below ``RUN/checkpoints``; each holds the encoder of its step.
CHECKPOINT_FOLDERS = "step-*"
PACKAGES = ("hundredfold", "torch", "timm", "numpy", "scikit-learn", "opencv-python-headless", "pydicom")


class RunDirectory:
    """A folder that holds the stages of one run and ``run.json``, which says how far each came.

    Of several ranks the first one writes; on the others what writes does nothing.

    Args:
        path: the folder.

    Examples:
        >>> import tempfile
        >>> run = RunDirectory.create(Path(tempfile.mkdtemp()) / "run")
        >>> with run.stage("scan", settings=None, resume=False):
        ...     run.record(images=3)
        >>> run.state["stages"]["scan"]["status"], run.state["images"]
        ('done', 3)
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path) -> Self:
        """Open the run at ``path``, making the folder where there is none.

        Raises:
            RunExistsError: ``path`` holds files but is no run, or is a file.
            InputError: the folder cannot be made.
        """
        if cls.is_run(path):
            return cls.open(path)
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunExistsError(
                "the output exists and is no run directory", where=path,
                remedy="Choose another --out; nothing was changed.",
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the output folder cannot be made: {error.strerror}", where=path,
                remedy="Choose another --out, where you may write.",
            ) from None
        run = cls(path)
        run._write({"schema_version": SCHEMA_VERSION, "stages": {}, "software": software()})
        return run

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an existing run.

        Raises:
            RunMissingError: there is no ``run.json`` in ``path``, it is damaged, or of a newer version.
        """
        if not cls.is_run(path):
            raise RunMissingError(
                "expected a run directory, found no run.json", where=path,
                remedy="Give the folder that --out named in an earlier call.",
            )
        run = cls(path)
        if (schema := run.state.get("schema_version")) != SCHEMA_VERSION:
            raise RunMissingError(
                f"expected a run of schema version {SCHEMA_VERSION}, found {schema}", where=path,
                remedy="Use the version of hundredfold that wrote it; run.json names it under software.",
            )
        return run

    @staticmethod
    def is_run(path: Path | Url) -> TypeGuard[Path]:
        """Whether ``path`` is a run directory; those are always on this machine."""
        return isinstance(path, Path) and (path / "run.json").is_file()

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def state(self) -> dict[str, Any]:
        """The contents of ``run.json``.

        Raises:
            RunMissingError: it cannot be read as JSON.
        """
        path = self.path / "run.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except ValueError as error:
            raise RunMissingError(
                f"run.json is damaged ({error})", where=path, remedy="Mend it, or choose another --out."
            ) from None

    @property
    def pixels(self) -> Path:
        """The folder of the pixel store: in the run, or where ``--pixels`` put it."""
        return Path(self.state.get("pixels") or self.path / "pixels")

    def done(self, stage: str) -> bool:
        """Whether ``stage`` was finished."""
        return bool(self.state["stages"].get(stage, {}).get("status") == "done")

    def require(self, name: str, made_by: str) -> Path:
        """The path of a file or folder that an earlier verb writes.

        Raises:
            RunMissingError: it is not there; the message names the verb.
        """
        if not (path := self / name).exists():
            raise RunMissingError(
                f"the run has no {name}", where=self.path, remedy=f"Run `hundredfold {made_by}` first."
            )
        return path

    def check_not_begun(self, name: str) -> None:
        """Make sure that a stage is new.

        Raises:
            RunExistsError: it was begun before.
        """
        if (before := self.state["stages"].get(name)) is not None:
            raise RunExistsError(
                f"{name} is already in this run (status: {before['status']})", where=self.path,
                remedy="Continue it with --resume, or choose another --out.",
            )

    @contextmanager
    def stage(self, name: str, *, settings: Settings | None, resume: bool) -> Iterator[None]:
        """Do one verb's work, alone: refuse to overwrite, note its settings, its status and its seconds.

        Other stages may be worked on meanwhile: ``embed`` reads a checkpoint while ``pretrain`` goes on.

        Raises:
            RunBusyError: another process works on this stage of the run.
            RunExistsError: the stage was begun before and ``resume`` is not set.
        """
        if not is_first():
            yield
            return
        with alone(self.path / f".{name}.lock", name), self._noted(name, settings, resume=resume):
            yield

    @contextmanager
    def _noted(self, name: str, settings: Settings | None, *, resume: bool) -> Iterator[None]:
        if not resume:
            self.check_not_begun(name)
        before = self.state["stages"].get(name)
        if settings is not None:
            self._note_settings(name, settings)
        spent = (before or {}).get("seconds") or 0.0
        started = time.monotonic()
        status = "failed"
        self._set_stage(name, status="running", seconds=spent)
        try:
            yield
            status = "done"
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        finally:
            # On a full disk the stage stays "running", as after a kill; what went wrong must come through.
            with suppress(*(() if status == "done" else (OSError,))):
                self._set_stage(name, status=status, seconds=round(spent + time.monotonic() - started, 1))

    def record(self, **facts: object) -> None:
        """Add facts to ``run.json``; they must be what JSON can hold."""
        if is_first():
            self._write({**self.state, **facts})

    def log(self, line: str) -> None:
        """Append a line with the time to ``log.txt``."""
        if not is_first():
            return
        with (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {line}\n")

    def explain(self, stage: str, lines: Sequence[str]) -> None:
        """Say on top of ``config.yaml``, as comments, what became of settings that ``stage`` left open."""
        if not is_first():
            return
        path = self / "config.yaml"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        kept = [line for line in _comments(before) if not line.startswith(f"# {stage}: ")]
        head = [*kept, *(f"# {stage}: {line}" for line in lines)]
        body = [line for line in before.splitlines() if not line.startswith("#")]
        write_text(path, "".join(f"{line}\n" for line in [*head, *body]))

    def _note_settings(self, stage: str, settings: Settings) -> None:
        path = self / "config.yaml"
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        noted = {**(yaml.safe_load(before) or {}), stage: settings.model_dump(mode="json")}
        head = "".join(f"{line}\n" for line in _comments(before))
        write_text(path, head + yaml.safe_dump(noted, sort_keys=False, allow_unicode=True))

    def _set_stage(self, name: str, **facts: object) -> None:
        state = self.state
        state["stages"][name] = facts
        self._write(state)

    def _write(self, state: Mapping[str, object]) -> None:
        write_json(self.path / "run.json", state)


def _comments(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("#")]


def software() -> dict[str, str]:
    """Versions of Python and of the packages that results depend on."""
    found = {"python": platform.python_version(), "platform": sys.platform, "machine": platform.machine()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
