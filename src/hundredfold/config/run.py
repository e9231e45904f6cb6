"""Settings of ``run``, ``demo`` and ``report``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from hundredfold.config.base import Place, ResumableSettings, Settings
from hundredfold.config.clinical import ReportChoices
from hundredfold.config.curve import CurveChoices
from hundredfold.config.embed import EmbedChoices
from hundredfold.config.fit import CopyChoices, FitChoices
from hundredfold.config.pretrain import PretrainChoices
from hundredfold.config.scan import ScanChoices

__all__ = ["PRESETS", "DemoSettings", "EncoderChoices", "ReportSettings", "RunSettings"]

#: Those of every verb of the chain together.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    name: {**PretrainChoices.presets[name], **CurveChoices.presets[name]} for name in PretrainChoices.presets
}


class EncoderChoices(Settings):
    """Whether the chain pre-trains, or takes an encoder that is there."""

    encoder: str | None = Field(
        None,
        description="An encoder in place of pre-training, named as for embed: a run, an encoder folder, "
        "timm:NAME, hf:OWNER/NAME or the folder of such a model, thumbnail, or several joined by '+'.",
    )


class RunSettings(
    ReportChoices, EncoderChoices, FitChoices, CurveChoices, PretrainChoices, EmbedChoices, ScanChoices,
    CopyChoices, ResumableSettings,
):
    """The settings of ``run``: those of every verb it calls."""

    positional: ClassVar[tuple[str, ...]] = ("images",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    images: Place = Field(description="A folder or archive of images or a table of them, or a URL.")
    labels: Place = Field(description="CSV or Parquet with the columns image,label[,group][,split][,site].")


class DemoSettings(ResumableSettings):
    """The settings of ``demo``."""

    out: Path = Field(Path("demo"), description="The run directory to write.")


class ReportSettings(ReportChoices, CopyChoices):
    """The settings of ``report``."""

    positional: ClassVar[tuple[str, ...]] = ("run",)

    run: Path = Field(description="The run directory to report on; writes RUN/report.html.")
