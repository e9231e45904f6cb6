"""Settings of ``check``: is a batch of new images like those that a predictor learned from?"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from hundredfold.config.base import Place, ResumableSettings
from hundredfold.config.scan import GroupChoices

__all__ = ["CheckSettings"]


class CheckSettings(GroupChoices, ResumableSettings):
    """The settings of ``check``."""

    positional: ClassVar[tuple[str, ...]] = ("images",)

    images: Place = Field(description="A folder or archive of images or a table of them, or a URL.")
    predictor: Place = Field(description="The predictor folder, a URL, or a run directory that holds one.")
    out: Path = Field(Path("check"), description="The folder to write: check.html, check.json and figures/.")
    most: int = Field(1000, ge=2, description="Images that are compared; of more, so many random ones.")
    draws: int = Field(499, ge=99, description="Clean batches that the new one is compared with.")
