"""Settings of ``compare``: several runs, and further encoders, in one figure and table."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from hundredfold.config.base import ResumableSettings
from hundredfold.config.embed import EmbedChoices

__all__ = ["CompareSettings"]


class CompareSettings(EmbedChoices, ResumableSettings):
    """The settings of ``compare``."""

    positional: ClassVar[tuple[str, ...]] = ("runs",)

    runs: tuple[Path, ...] = Field(
        min_length=1, description="Runs with learning curves on the same test images."
    )
    encoders: tuple[str, ...] = Field(
        (), description="Further encoders, comma-separated, to embed the first run's images with and to "
        "measure as it was: each as for embed, such as timm:NAME, RUN/initial or RUN+thumbnail."
    )
