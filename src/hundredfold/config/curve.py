"""Settings of ``curve``: accuracy against the number of labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from hundredfold.config.base import Place, ResumableSettings
from hundredfold.config.clinical import ClinicalChoices, Resampled
from hundredfold.config.scan import LeakChoices

__all__ = ["CurveChoices", "CurveSettings"]


class CurveChoices(ClinicalChoices, LeakChoices):
    """The evaluation protocol (Nielsen et al. 2023, section 2.4)."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "default": {}, "paper": {"classifiers": ("svm", "knn", "logistic", "last_layer", "network")},
    }

    preset: Literal["default", "paper"] = Field(
        "default", description="Our settings, or those of Nielsen et al. 2023."
    )
    budgets: tuple[int, ...] = Field(
        (1, 5, 10, 25, 50, 100, 250, 500, 1000), description="Labels per class, comma-separated."
    )
    classifiers: tuple[str, ...] = Field(
        ("svm", "knn", "logistic", "lda"),
        description="On frozen vectors: svm, knn, logistic, last_layer, lda, prototype; end to end, from the "
        "backbone of each encoder on the same labels, and from the untrained one on all: network.",
    )
    network_rates: tuple[float, ...] = Field(
        (1e-4,),
        description="Learning rates of the classifier network, comma-separated; each fit keeps the one "
        "of the lowest loss on the labels that choose its epoch.",
    )
    outer_splits: int = Field(
        1, ge=1,
        description="Test splits by group that take turns, so that each labelled image is tested once: for "
        "sets too small for one test set. An encoder pre-trained on these images has then seen them.",
    )
    repeats: int = Field(5, ge=1, description="Independent draws of the labels.")
    bootstrap: Resampled = Field(
        1000, ge=0, description="Resamples for the 95 % intervals, at least 40; 0 for none."
    )
    min_class_size: int = Field(
        0, ge=0,
        description="Leave out classes with fewer labelled training images (with outer_splits, in any split)."
    )


class CurveSettings(CurveChoices, ResumableSettings):
    """The settings of ``curve``."""

    positional: ClassVar[tuple[str, ...]] = ("embeddings",)

    embeddings: Path = Field(description="A folder of embeddings, or a run directory that holds some.")
    labels: Place = Field(description="CSV or Parquet with the columns image,label[,group][,split][,site].")
    modality: str | None = Field(
        None,
        description="What the network's views may do to the images; see docs/modalities.md [default: what "
        "pre-training was told, else microscopy].",
    )
