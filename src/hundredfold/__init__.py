"""A hundred labels per class: learn from your own unlabelled images, label few, know how good it is.

The verbs of the command line are functions here, with the same names and settings::

    import hundredfold

    run = hundredfold.run("images", labels="labels.csv", out="runs/first", minutes=60)
    hundredfold.predict("new_images", predictor="runs/first", out="predictions.csv")

A name is imported when it is first used; ``import hundredfold`` itself loads nothing heavy.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

# A thread of OpenMP that waits for another spins, and where other programs want the cores as well it spins in
# their way and its own: 15 s a training step in place of 3.5. Spinning for less time mends that and costs at
# most 3 % on a quiet machine. It is read when torch is first imported; the user's own setting wins.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

if TYPE_CHECKING:
    from hundredfold.data.labels import LabelSet
    from hundredfold.data.pixels import PixelStore
    from hundredfold.data.table import ImageTable
    from hundredfold.encode.embed import Embeddings
    from hundredfold.encode.encoder import Encoder
    from hundredfold.encode.estimator import EmbeddingTransformer
    from hundredfold.errors import HundredfoldError, InputError
    from hundredfold.learn.budgets import LabelBudgetSplit
    from hundredfold.learn.curve import LearningCurve, learning_curve
    from hundredfold.predict.predictor import Predictor
    from hundredfold.rundir import RunDirectory
    from hundredfold.views.multicrop import MultiCrop
    from hundredfold.workflows.annotate import annotate
    from hundredfold.workflows.check import check
    from hundredfold.workflows.compare import compare
    from hundredfold.workflows.curve import curve
    from hundredfold.workflows.demo import demo
    from hundredfold.workflows.embed import embed
    from hundredfold.workflows.evaluate import evaluate
    from hundredfold.workflows.export import export
    from hundredfold.workflows.fit import fit
    from hundredfold.workflows.predict import predict
    from hundredfold.workflows.pretrain import pretrain
    from hundredfold.workflows.report import report
    from hundredfold.workflows.reproduce import reproduce
    from hundredfold.workflows.run import run
    from hundredfold.workflows.scan import scan
    from hundredfold.workflows.serve import serve
    from hundredfold.workflows.suggest import suggest

__all__ = [
    "EmbeddingTransformer",
    "Embeddings",
    "Encoder",
    "HundredfoldError",
    "ImageTable",
    "InputError",
    "LabelBudgetSplit",
    "LabelSet",
    "LearningCurve",
    "MultiCrop",
    "PixelStore",
    "Predictor",
    "RunDirectory",
    "annotate",
    "check",
    "compare",
    "curve",
    "demo",
    "embed",
    "evaluate",
    "export",
    "fit",
    "learning_curve",
    "predict",
    "pretrain",
    "report",
    "reproduce",
    "run",
    "scan",
    "serve",
    "suggest",
]

_HOMES = {
    "EmbeddingTransformer": "encode.estimator",
    "Embeddings": "encode.embed",
    "Encoder": "encode.encoder",
    "HundredfoldError": "errors",
    "ImageTable": "data.table",
    "InputError": "errors",
    "LabelBudgetSplit": "learn.budgets",
    "LabelSet": "data.labels",
    "LearningCurve": "learn.curve",
    "MultiCrop": "views.multicrop",
    "PixelStore": "data.pixels",
    "Predictor": "predict.predictor",
    "RunDirectory": "rundir",
    "learning_curve": "learn.curve",
}


class _Room(ModuleType):
    """A room that shares its name with a verb: calling the room runs the verb."""

    def __call__(self, *args: Any, **settings: Any) -> Any:
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(f"hundredfold.workflows.{name}"), name)(*args, **settings)


class _House(ModuleType):
    """This package; Python sets a room on it when the room is imported, whoever imports it first."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in {"annotate", "predict", "report", "serve"} and isinstance(value, ModuleType):
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _House


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hundredfold' has no attribute {name!r}")
    if name in {"annotate", "predict", "report", "serve"}:
        return import_module(f"hundredfold.{name}")
    return getattr(import_module(f"hundredfold.{_HOMES.get(name, f'workflows.{name}')}"), name)


def __dir__() -> list[str]:
    return __all__
