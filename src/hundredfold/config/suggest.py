"""Settings of ``suggest``: which images to label next."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from hundredfold.config.base import OptionalPlace, ResumableSettings

__all__ = ["SuggestSettings"]


class SuggestSettings(ResumableSettings):
    """The settings of ``suggest``."""

    positional: ClassVar[tuple[str, ...]] = ("embeddings",)

    embeddings: Path = Field(
        description="A folder of embeddings, or a run directory that holds some: of several the first of "
        "pretrained, adapted, initial."
    )
    budget: int = Field(ge=1, description="How many images to suggest.")
    labels: OptionalPlace = Field(
        None,
        description="CSV or Parquet with the columns image,label: what is labelled already [default: what "
        "was labelled on the page of the run, else at its scan].",
    )
    useless: str | None = Field(
        None,
        description="The label of images that are of no use (junk): no class, and no more of their kind "
        "are sought.",
    )
    strategy: str = Field(
        "mixture",
        description="typiclust, kmeans, explore, margin (needs labels), mixture or random; docs/suggest.md "
        "says what each does.",
    )
    out: Path = Field(description="The CSV file to write.")
