"""Where the rows of ``metrics.jsonl`` go besides: TensorBoard, Weights & Biases, MLflow, or a plug-in.

Nothing leaves the machine unless the user's environment names a place for it.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias

from hundredfold.errors import SettingsError
from hundredfold.files import write_json, write_text
from hundredfold.progress import say
from hundredfold.registry import Registry

__all__ = ["LOGGERS", "Logbook", "Logger", "Open", "Outcome", "check_loggers"]

Row = Mapping[str, float]
#: How a call ended: all steps are done, it was stopped, or something went wrong.
Outcome: TypeAlias = Literal["done", "interrupted", "failed"]


class Logger(Protocol):
    """A place for the numbers of each step."""

    def log(self, row: Row) -> None:
        """Take one row; ``row["step"]`` only ever rises."""

    def close(self, outcome: Outcome) -> None:
        """Write what is still in memory, and say how the call ended; a resume may open the log again."""


#: Opens, or after a resume opens again, the log in a folder of its own: ``(folder, name, facts)``; ``name``
#: is the run's, and ``facts`` what was fixed for it.
Open = Callable[[Path, str, Mapping[str, Any]], Logger]

LOGGERS: Registry[Open] = Registry("logger")


class Logbook:
    """The loggers of one run, each of which gets every step once.

    A resume runs the steps since the last checkpoint again. A logger that has seen them is not told
    again; one that is new gets the rows that were kept first. ``reached.json`` and ``metrics.jsonl`` say
    how far each has come.

    Args:
        names: of the loggers, known to :data:`LOGGERS`.
        folder: ``logs/`` of the run; each logger has a folder in it.
        facts: what was fixed for the run.

    Raises:
        SettingsError: no such logger, or its package is not installed.

    Examples:
        >>> import tempfile
        >>> book = Logbook((), Path(tempfile.mkdtemp()) / "run" / "logs", {})
        >>> book.begin([], last=-1)
        >>> book.log({"step": 0, "loss": 6.9})
        >>> book.close("done")
    """

    def __init__(self, names: Sequence[str], folder: Path, facts: Mapping[str, Any]) -> None:
        check_loggers(names)
        self.folder = folder
        run = folder.parent.resolve().name
        self.loggers = {name: LOGGERS[name](folder / name, run, facts) for name in names}
        self.reached: dict[str, int] = {}

    def begin(self, kept: Iterable[Row], last: int) -> None:
        """Note how far each logger has come, and bring new ones up to date.

        Args:
            kept: the rows of the steps that are not run again.
            last: the last step that the call before told its loggers of, kept or not; -1 if none.
        """
        path = self.folder / "reached.json"
        noted: dict[str, Any] = {"reached": {}, "active": []}
        if path.exists():
            noted = json.loads(path.read_text(encoding="utf-8"))
        self.reached = noted["reached"]
        for name in noted["active"]:
            self.reached[name] = max(self.reached.get(name, -1), last)
        if self.loggers or path.exists():
            write_json(path, {"reached": self.reached, "active": sorted(self.loggers)})
        for row in kept:
            self.log(row)

    def log(self, row: Row) -> None:
        """Give a row to the loggers that have not seen its step."""
        for name, logger in self.loggers.items():
            if row["step"] > self.reached.get(name, -1):
                logger.log(row)

    def close(self, outcome: Outcome) -> None:
        """Close all loggers."""
        for logger in self.loggers.values():
            logger.close(outcome)


class TensorBoard:
    """Event files, which ``tensorboard --logdir RUN/logs`` shows."""

    def __init__(self, folder: Path, _name: str, facts: Mapping[str, Any]) -> None:
        from torch.utils.tensorboard import SummaryWriter

        fresh = not folder.exists()
        self._writer: Any = SummaryWriter(str(folder))
        if fresh:
            self._writer.add_text("run", f"```\n{json.dumps(dict(facts), indent=2)}\n```")

    def log(self, row: Row) -> None:
        """Add a point to the curve of each number."""
        for key, value in _numbers(row).items():
            self._writer.add_scalar(key, value, row["step"])
        self._writer.flush()

    def close(self, outcome: Outcome) -> None:  # noqa: ARG002 - an event file has no place for it
        """Close the event file."""
        self._writer.close()


class WeightsAndBiases:
    """A run of Weights & Biases: offline, in the run directory, unless WANDB_MODE says otherwise.

    Its own telemetry (machine, code, git, console, fault reports) stays off. A resume goes on with the same
    run id; offline each call leaves a folder, and ``wandb sync`` joins them.
    """

    def __init__(self, folder: Path, name: str, facts: Mapping[str, Any]) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        mode: Any = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "hundredfold"), name=name, mode=mode, dir=str(folder),
            id=_kept_id(folder / "run_id", lambda: uuid.uuid4().hex[:8]), resume="allow", config=dict(facts),
            settings=wandb.Settings(
                console="off", silent=True, disable_code=True, disable_git=True, x_disable_meta=True,
                x_disable_stats=True, x_disable_machine_info=True,
            ),
        )
        hint = f"; to send it: wandb sync {folder}/wandb/offline-run-*" if mode == "offline" else ""
        say(f"Weights & Biases: {mode}{hint}")

    def log(self, row: Row) -> None:
        """Add the numbers of one step."""
        self._run.log(_numbers(row), step=int(row["step"]))

    def close(self, outcome: Outcome) -> None:
        """Finish the run, with the exit code of the command line."""
        self._run.finish(exit_code={"done": 0, "failed": 1, "interrupted": 130}[outcome])


class MLflow:
    """A run of MLflow: a SQLite file in the run directory, unless MLFLOW_TRACKING_URI names a place."""

    def __init__(self, folder: Path, name: str, facts: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow import MlflowClient

        folder.mkdir(parents=True, exist_ok=True)
        place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        self._client: Any = MlflowClient(tracking_uri=place)
        self._run = _kept_id(folder / "run_id", lambda: self._create(name, facts, folder))
        self._client.update_run(self._run, status="RUNNING")
        say(f"MLflow: {place}")

    def _create(self, name: str, facts: Mapping[str, Any], folder: Path) -> str:
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME", "hundredfold")
        known = self._client.get_experiment_by_name(title)
        elsewhere = os.environ.get("MLFLOW_TRACKING_URI")
        artifacts = None if elsewhere else (folder / "artifacts").resolve().as_uri()
        experiment = (
            known.experiment_id if known
            else self._client.create_experiment(title, artifact_location=artifacts)
        )
        run = str(self._client.create_run(experiment, run_name=name).info.run_id)
        for key, value in facts.items():
            if isinstance(value, str | int | float):
                self._client.log_param(run, key, value)
        return run

    def log(self, row: Row) -> None:
        """Add the numbers of one step in one request."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        self._client.log_batch(
            self._run, metrics=[Metric(k, v, now, int(row["step"])) for k, v in _numbers(row).items()]
        )

    def close(self, outcome: Outcome) -> None:
        """Mark the run as what became of it."""
        told = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}
        self._client.set_terminated(self._run, status=told[outcome])


def _numbers(row: Row) -> dict[str, float]:
    """The row's numbers but its step."""
    return {key: float(value) for key, value in row.items() if key != "step"}


def _kept_id(path: Path, create: Callable[[], str]) -> str:
    """The id that an earlier call left, so that a resume goes on with the same run; or a new one."""
    if not path.exists():
        write_text(path, create())
    return path.read_text(encoding="utf-8")


def check_loggers(names: Iterable[str]) -> None:
    """Find a wrong name or a missing package before hours of work, not after them.

    Raises:
        SettingsError: no such logger, or a package that it needs is not installed; names the extra.
    """
    for name in names:
        LOGGERS[name]
        missing = [package for package in _NEEDED.get(name, ()) if find_spec(package) is None]
        if missing:
            raise SettingsError(
                f"the logger needs {', '.join(missing)}, which is not installed", where=f"--logger {name}",
                remedy=f"Install it: pip install 'hundredfold[{name}]'.",
            )


#: Logger, and extra of the same name → the packages it imports.
_NEEDED = {
    "tensorboard": ("tensorboard",), "wandb": ("wandb",), "mlflow": ("mlflow", "sqlalchemy", "alembic"),
}
LOGGERS.add("tensorboard", TensorBoard)
LOGGERS.add("wandb", WeightsAndBiases)
LOGGERS.add("mlflow", MLflow)
