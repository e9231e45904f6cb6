"""Settings of ``export``."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from pydantic import Field, model_validator

from hundredfold.config.base import Place, Settings

__all__ = ["ExportSettings"]


class ExportSettings(Settings):
    """The settings of ``export``."""

    positional: ClassVar[tuple[str, ...]] = ("model",)

    model: Place = Field(
        description="A predictor folder, an encoder folder, a run that holds one of them, or the URL of one; "
        "timm:NAME and hf:OWNER/NAME, as `embed --encoder` takes them.",
    )
    onnx: Path | None = Field(
        None, description="ONNX file to write: encoder, classifier and calibration in one graph; of an "
        "encoder its vectors alone. Needs the extra onnx.",
    )
    timm: Path | None = Field(
        None, description="Folder to write the encoder to, as timm and the Hugging Face hub read it.",
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.onnx is None and self.timm is None:
            raise ValueError("nothing to write: give --onnx FILE, --timm DIR, or both")
        if self.onnx is not None and self.onnx.suffix.lower() != ".onnx":
            raise ValueError(f"expected an ONNX file that ends in .onnx, found {self.onnx.name}")
        return self
