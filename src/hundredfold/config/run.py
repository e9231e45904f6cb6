"""Settings of ``run``, ``demo`` and ``report``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from hundredfold.config.base import ResumableSettings
from hundredfold.config.clinical import ReportChoices
from hundredfold.config.curve import CurveChoices
from hundredfold.config.embed import EmbedChoices
from hundredfold.config.fit import FitChoices
from hundredfold.config.pretrain import PretrainChoices
from hundredfold.config.scan import ScanChoices

__all__ = ["DemoSettings", "ReportSettings", "RunSettings"]


class RunSettings(
    ReportChoices, FitChoices, CurveChoices, PretrainChoices, EmbedChoices, ScanChoices, ResumableSettings
):
    """The settings of ``run``: those of every verb it calls."""

    positional: ClassVar[tuple[str, ...]] = ("images",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        name: {**PretrainChoices.presets[name], **CurveChoices.presets[name]}
        for name in PretrainChoices.presets
    }

    images: Path = Field(description="A folder of images, or a CSV or Parquet table that lists them.")
    labels: Path = Field(description="CSV or Parquet with the columns image,label[,group][,split][,site].")


class DemoSettings(ResumableSettings):
    """The settings of ``demo``."""

    out: Path = Field(Path("demo"), description="The run directory to write.")


class ReportSettings(ReportChoices):
    """The settings of ``report``."""

    positional: ClassVar[tuple[str, ...]] = ("run",)

    run: Path = Field(description="The run directory to report on; writes RUN/report.html.")
