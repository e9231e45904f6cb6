"""Settings of ``scan``: what images there are, and who is whose."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from hundredfold.config.base import ResumableSettings, Settings

__all__ = ["LeakChoices", "PixelChoices", "ScanChoices", "ScanSettings"]


class LeakChoices(Settings):
    """What to do about test images that are also training images."""

    allow_leak: bool = Field(
        False, description="Go on although test images are also training images; the report says so."
    )


class PixelChoices(Settings):
    """Where the decoded images are kept, and how."""

    pixels: Path | None = Field(
        None,
        description="Folder of the pixel store, which several runs may share: images that it holds are not "
        "decoded again [default: OUT/pixels].",
    )
    pixel_size: int | None = Field(
        None, ge=16, le=2048,
        description="Side of the stored images in px [default: the images' own, at most 256].",
    )
    fit: Literal["pad", "crop", "squash"] = Field(
        "pad", description="An image that is not square: reflect its borders, cut it, or squash it."
    )


class ScanChoices(PixelChoices, LeakChoices):
    """How images are read and split."""

    max_bad: float = Field(0.01, ge=0, le=1, description="Stop if more than this share is unusable.")
    test_size: float = Field(
        1 / 3, gt=0, lt=1,
        description="Share of the labelled images (of each class) held out as the test set.",
    )


class ScanSettings(ScanChoices, ResumableSettings):
    """The settings of ``scan``."""

    positional: ClassVar[tuple[str, ...]] = ("images",)

    images: Path = Field(description="A folder of images, or a CSV or Parquet table that lists them.")
    labels: Path | None = Field(
        None, description="CSV or Parquet with the columns image,label[,group][,split][,site]."
    )
