"""Settings of ``annotate``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from hundredfold.config.base import Settings

__all__ = ["AnnotateSettings"]


class AnnotateSettings(Settings):
    """The settings of ``annotate``."""

    positional: ClassVar[tuple[str, ...]] = ("run",)

    run: Path = Field(description="The run directory of the images, which `scan` made.")
    port: int | None = Field(
        None, ge=1, le=65535, description="Where the page is served on this machine [default: any free port]."
    )
    browser: bool = Field(True, description="Open the page in the browser.")
    reader: str | None = Field(
        None, min_length=1, max_length=40, description="Who labels in that browser [default: the page asks]."
    )
    order: Path | None = Field(
        None,
        description="CSV with the column image, such as `suggest` writes: these come first, in its order "
        "[default: an order of chance].",
    )
    labels: Path | None = Field(
        None,
        description="Labels to take in first: CSV or Parquet with the columns image,label, or a JSON export "
        "of Label Studio. A label that is here already stays.",
    )
    export: Path | None = Field(
        None, description="Write the labels to this CSV and end, without the page."
    )
    second_share: float = Field(
        0.15, ge=0, le=1, description="Share of the images, drawn blindly, that a second reader reads too."
    )
