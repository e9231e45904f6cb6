"""Settings of ``serve``."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from hundredfold.config.base import Place, Settings
from hundredfold.config.clinical import SourceChoices

__all__ = ["ServeSettings"]


class ServeSettings(SourceChoices, Settings):
    """The settings of ``serve``."""

    positional: ClassVar[tuple[str, ...]] = ("predictor",)

    predictor: Place = Field(description="The predictor folder, a URL, or a run directory that holds one.")
    host: str = Field("127.0.0.1", description="Where to listen: this machine alone, or 0.0.0.0 for all.")
    port: int = Field(8100, ge=0, le=65535, description="The port; 0 takes any free one.")
    token: str | None = Field(
        None,
        description="What requests must bring, 16 characters or more; other users of this machine can see it "
        "here, so better put it into the environment: HUNDREDFOLD_TOKEN [default: none on this machine; "
        "elsewhere one is needed].",
    )
    names: tuple[str, ...] = Field(
        (),
        description="Names under which the service is asked; others are refused [default: those of this "
        "machine for itself; any where --host is another].",
    )
    embed_batch: int = Field(32, ge=1, description="Images of all requests that are encoded at once.")
    wait: float = Field(0.005, ge=0, le=1, description="Seconds that an image waits for others.")
    queue: int = Field(256, ge=1, description="Images that may wait at once; who brings more may come later.")
    most_images: int = Field(64, ge=1, description="Images of one request.")
    most_mb: int = Field(32, ge=1, le=48, description="Megabytes of one request.")
    body_seconds: float = Field(30, gt=0, description="Until a request must have come.")
    answer_seconds: float = Field(60, gt=0, description="Until it must be answered.")
