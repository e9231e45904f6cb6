"""Settings of ``embed``: one vector an image."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from hundredfold.config.base import Place, ResumableSettings, Settings

__all__ = ["EmbedChoices", "EmbedSettings"]


class EmbedChoices(Settings):
    """How images become vectors."""

    weights: str = Field(
        "auto", description="Weights of a timm: or hf: encoder: auto, none (random) or a file."
    )
    download: bool = Field(False, description="Allow the download that --weights auto needs.")
    embed_batch: int = Field(64, ge=1, description="Images encoded at once.")
    embed_precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="In which the encoder computes: bfloat16 is about twice as fast where the processor or "
        "GPU knows it, and vectors differ by a hundredth. It belongs to the encoder from then on.",
    )
    embed_size: int | None = Field(
        None, ge=16,
        description="Side in px at which the encoder looks at images, in place of its own: up to that of the "
        "stored images it may see more, and did on ultrasound, not on red cells (docs/beyond.md). It belongs "
        "to the encoder from then on.",
    )


class EmbedSettings(EmbedChoices, ResumableSettings):
    """The settings of ``embed``."""

    positional: ClassVar[tuple[str, ...]] = ("images",)

    images: Place = Field(description="A folder, archive or table of images, a URL, or a scanned run.")
    encoder: str = Field(
        description="A run, an encoder folder, timm:NAME, hf:OWNER/NAME or the folder of such a model, "
        "thumbnail, or several joined by '+'."
    )
