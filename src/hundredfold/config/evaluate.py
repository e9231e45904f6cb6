"""Settings of ``evaluate``: a predictor on labelled images of another source."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from hundredfold.config.base import Place, ResumableSettings
from hundredfold.config.clinical import OperatingChoices, ReportChoices, Resampled
from hundredfold.config.scan import InputChoices

__all__ = ["EvaluateSettings"]


class EvaluateSettings(InputChoices, OperatingChoices, ReportChoices, ResumableSettings):
    """The settings of ``evaluate``."""

    positional: ClassVar[tuple[str, ...]] = ("images",)

    images: Place = Field(description="A folder or archive of images or a table of them, or a URL.")
    labels: Place = Field(description="CSV or Parquet with the columns image,label[,group][,site].")
    predictor: Place = Field(description="The predictor folder, a URL, or a run directory that holds one.")
    budgets: tuple[int, ...] = Field(
        (1, 5, 10, 25, 50, 100),
        description="New labels per class by which the classifier is fitted again, to see what they would "
        "bring, comma-separated.",
    )
    repeats: int = Field(5, ge=1, description="Independent draws of these labels.")
    bootstrap: Resampled = Field(
        1000, ge=0, description="Resamples for the 95 % intervals, at least 40; 0 for none."
    )
    embed_batch: int = Field(64, ge=1, description="Images encoded at once.")
    allow_leak: bool = Field(
        False, description="Go on though the predictor learned from some of these images."
    )
