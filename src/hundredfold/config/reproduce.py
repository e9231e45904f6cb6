"""Settings of ``reproduce``: the paper's data sets as they are published."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from hundredfold.config.base import ResumableSettings
from hundredfold.config.clinical import ReportChoices
from hundredfold.config.curve import CurveChoices
from hundredfold.config.embed import EmbedChoices
from hundredfold.config.fit import FitChoices
from hundredfold.config.pretrain import PretrainChoices
from hundredfold.config.run import PRESETS, EncoderChoices
from hundredfold.config.scan import LeakChoices, ScanChoices

__all__ = ["DatasetChoices", "DatasetSettings", "ReproduceSettings"]


class DatasetChoices(LeakChoices):
    """Which images of the data set, and on which side."""

    splits: Path | None = Field(
        None,
        description="Folder of the published split lists, which are in the repository of the paper "
        "(IPMI-ICNS-UKE/sparsam, folder splits) [default: a stratified split is drawn, by group where groups "
        "are known].",
    )
    published_split: bool = Field(
        False,
        description="Take the published lists as they stand. Where test images are also training images this "
        "is refused; see --allow-leak.",
    )
    unlabelled: bool = Field(
        True, description="Pre-train on the unlabelled images too; --encoder needs none of them."
    )
    leave_out_val: bool = Field(
        False, description="MedMNIST: leave the validation images out, which are training images otherwise."
    )


class DatasetSettings(DatasetChoices):
    """What the stage ``dataset`` is given."""

    dataset: str = Field(description="bone_marrow, endoscopy, isic or medmnist.")
    images: Path = Field(
        description="The folder in which the data set was unpacked; of MedMNIST the .npz file, or its folder."
    )


class ReproduceSettings(
    DatasetSettings, ReportChoices, EncoderChoices, FitChoices, CurveChoices, PretrainChoices, EmbedChoices,
    ScanChoices, ResumableSettings,
):
    """The settings of ``reproduce``: those of ``run``, with the paper's as their defaults."""

    positional: ClassVar[tuple[str, ...]] = ("dataset",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = PRESETS

    preset: Literal["default", "paper"] = Field(
        "paper", description="Our settings, or those of Nielsen et al. 2023."
    )
    test_size: float = Field(
        0.3, gt=0, lt=1,
        description="Share of the labelled images (of each class) held out, where a split is drawn.",
    )
