"""Settings of ``scan``: what images there are, and who is whose."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from hundredfold.config.base import OptionalPlace, Place, ResumableSettings, Settings

__all__ = [
    "WINDOWS", "GroupChoices", "InputChoices", "LeakChoices", "PixelChoices", "ReadChoices", "ScanChoices",
    "ScanSettings",
]

#: name → centre and width in Hounsfield units. There is no standard; these are the windows for CT that
#: OHIF's viewer begins with (docs.ohif.org, windowLevelPresets).
WINDOWS: Mapping[str, tuple[float, float]] = {
    "lung": (-600, 1500), "soft_tissue": (40, 400), "bone": (480, 2500), "brain": (40, 80),
    "liver": (90, 150),
}


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
    window: str | None = Field(
        None,
        description="Show CT through one window in place of each file's own: "
        + ", ".join(WINDOWS) + ", or CENTRE,WIDTH in Hounsfield units (--window=-600,1500). Images that "
        "are no CT are then left out.",
    )

    stain: Literal["none", "white", "reinhard"] = Field(
        "none",
        description="Stained slides only: bring the colours of each image to those of the training images. "
        "white: the glass gets one colour, as a white balance does; reinhard: so do the means and spreads of "
        "L*a*b*. For slides of other laboratories or lamps than those you have labels of; it does not help "
        "where these are alike (docs/stain.md). Encoder and predictor keep it.",
    )

    @field_validator("window")
    @classmethod
    def _check_window(cls, window: str | None) -> str | None:
        _window(window)
        return window

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.window is not None and self.stain != "none":
            raise ValueError("window is for CT and stain for stained slides; they exclude each other")
        return self

    @property
    def ct_window(self) -> tuple[float, float] | None:
        """The centre and width of ``window``."""
        return _window(self.window)


class GroupChoices(Settings):
    """Which images are of one patient or slide."""

    dicom_groups: Literal["patient", "study", "none"] = Field(
        "patient",
        description="Which images of DICOM files belong together, where no table names a group. Numbers "
        "of patients and studies are kept as keyed hashes only.",
    )
    group_key: Path | None = Field(
        None,
        description="File of a secret of 16 bytes or more that these numbers are hashed with, so that a "
        "patient has the same group in every run [default: the environment variable "
        "HUNDREDFOLD_GROUP_KEY, or a key of chance that is kept nowhere].",
    )
    group_pattern: str | None = Field(
        None,
        description="Regular expression whose brackets, in an image's path below IMAGES, hold the patient or "
        "slide, where no table names a group: '(patient_[0-9]+)'.",
    )


class InputChoices(GroupChoices):
    """Whose the images are, and how many of them may be bad."""

    max_bad: float = Field(
        0.01, ge=0, le=1,
        description="Stop if more than this share of the images is unusable; DICOM files without pixels "
        "(reports, plans) are none and do not count.",
    )


class ReadChoices(InputChoices, PixelChoices):
    """How images are read."""


class ScanChoices(ReadChoices, LeakChoices):
    """How images are read and split."""

    near_copies: bool = Field(
        True,
        description="Look for near-copies (saved again, turned, mirrored, cut a little, brighter), of up to "
        "a million images; they stay on one side of the split.",
    )
    test_size: float = Field(
        1 / 3, gt=0, lt=1,
        description="Share of the labelled images (of each class) held out as the test set.",
    )
    audit: int | None = Field(
        None, ge=1,
        description="Set about so many random images (whole patients, where they are known) aside as the "
        "audit set, before anything learns or is suggested; it takes the place of a test set.",
    )
    keep_splits: Path | None = Field(
        None,
        description="A run that was scanned before, or its splits.csv: its images keep their side and group, "
        "and none is drawn anew where it has an audit set.",
    )


class ScanSettings(ScanChoices, ResumableSettings):
    """The settings of ``scan``."""

    positional: ClassVar[tuple[str, ...]] = ("images",)

    images: Place = Field(description="A folder or archive of images or a table of them, or a URL.")
    labels: OptionalPlace = Field(
        None, description="CSV or Parquet with the columns image,label[,group][,split][,site]."
    )


def _window(text: str | None) -> tuple[float, float] | None:
    if text is None or text in WINDOWS:
        return None if text is None else WINDOWS[text]
    try:
        centre, width = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"expected {', '.join(WINDOWS)} or CENTRE,WIDTH") from None
    if not (width > 1 and math.isfinite(centre + width)):
        raise ValueError("expected a width above 1, and numbers that are finite")
    return centre, width
