"""Settings of ``fit`` and ``predict``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from hundredfold.config.base import FarPlace, Place, ResumableSettings, Settings
from hundredfold.config.clinical import SourceChoices
from hundredfold.config.scan import GroupChoices

__all__ = ["CopyChoices", "FitChoices", "FitSettings", "PredictSettings"]


class FitChoices(Settings):
    """Which classifier a predictor carries."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}, "paper": {}}

    preset: Literal["default", "paper"] = Field(
        "default", description="Our settings, or those of Nielsen et al. 2023."
    )
    classifier: str = Field(
        "auto",
        description="Name of the classifier, or auto: the best by cross-validation by group on the training "
        "labels, of those on frozen vectors that the run's curve has judged; before a curve of svm, knn, "
        "logistic and lda. The encoder is chosen so in any case, where there are several.",
    )
    thumbnails: bool = Field(
        False,
        description="Let the predictor carry small pictures of the labelled images, which predict --explain "
        "then shows. Off, because a predictor is passed on and images of patients must not travel unasked.",
    )
    calibration: Literal["temperature", "platt", "isotonic", "none"] = Field(
        "temperature",
        description="How scores become probabilities, on labels held out by group: one number for all "
        "(from 5 labels a class), a curve a class, a staircase a class (which makes no sets), or not at all.",
    )
    coverage: float = Field(
        0.9, gt=0, lt=1,
        description="How often the true class is to be in the set of classes that cannot be ruled out.",
    )
    sets: Literal["marginal", "class-wise", "none"] = Field(
        "marginal",
        description="Whom the coverage is promised for: all images together; or those of each class that has "
        "at least 20 labels that can be held out; or no sets.",
    )


class CopyChoices(Settings):
    """What is copied to a storage."""

    copy_to: FarPlace = Field(
        None,
        description="A URL (s3://bucket/results) to which the predictor (URL/predictor) and the report "
        "(URL/report.html) are copied.",
    )


class FitSettings(FitChoices, CopyChoices, ResumableSettings):
    """The settings of ``fit``."""

    positional: ClassVar[tuple[str, ...]] = ("embeddings",)

    embeddings: Path = Field(description="A folder of embeddings, or a run directory that holds some.")
    labels: Place = Field(description="CSV or Parquet with the columns image,label[,group][,split][,site].")


class PredictSettings(SourceChoices, GroupChoices, ResumableSettings):
    """The settings of ``predict``; groups are for ``explain``, which names images of other patients only."""

    positional: ClassVar[tuple[str, ...]] = ("images",)

    images: Place = Field(description="A folder or archive of images or a table of them, or a URL.")
    predictor: Place = Field(description="The predictor folder, a URL, or a run directory that holds one.")
    out: Place = Field(  # type: ignore[assignment]
        description="The table to write, as .csv, .parquet or .jsonl; it may be a URL."
    )
    embed_batch: int = Field(64, ge=1, description="Images encoded at once.")
    explain: bool = Field(
        False,
        description="Name the nearest labelled images of each (column neighbours), and write a page beside "
        "the table (predictions.html): the first 100 images and the 100 most doubtful, each with a map.",
    )
