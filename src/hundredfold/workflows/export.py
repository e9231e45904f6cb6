"""``export``: a predictor or an encoder for programs that know nothing of hundredfold."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hundredfold.config import ExportSettings, verb
from hundredfold.errors import RunExistsError
from hundredfold.progress import say

if TYPE_CHECKING:
    from hundredfold.encode.protocol import EncoderLike
    from hundredfold.predict.predictor import Predictor

__all__ = ["export"]


@verb(ExportSettings)
def export(settings: ExportSettings) -> tuple[Path, ...]:
    """Write a predictor or an encoder as an ONNX file, or its encoder as a timm folder.

    Of a folder or run that holds a predictor the predictor is taken, else its encoder.

    Returns:
        what was written.

    Raises:
        SettingsError: the encoder or the classifier has no such form; the message says what can be had.
        ModelFileError: the predictor or encoder is damaged or was edited.
        InputError: there is none, or the packages of the extra ``onnx`` are missing.
        RunExistsError: what was to be written is there already.
    """
    targets = tuple(path for path in (settings.onnx, settings.timm) if path is not None)
    for path in targets:
        if path.exists():
            raise RunExistsError(
                "the output exists", where=path, remedy="Choose another place; nothing was changed."
            )
    predictor, encoder = _opened(settings)
    if settings.onnx is not None:
        from hundredfold.encode.layers import image_size
        from hundredfold.predict.onnx import save_onnx

        save_onnx(predictor or encoder, settings.onnx)
        say(f"ONNX: {_told(predictor, encoder)}, in {settings.onnx}")
        side = image_size(encoder)
        say(f"It takes images as uint8 [b, {side}, {side}, 3], RGB; its metadata says under pixels how they "
            "are made so (docs/export.md). Made otherwise, answers are silently wrong.")
    if settings.timm is not None:
        from hundredfold.encode.timm_folder import save_timm_folder

        save_timm_folder(encoder, settings.timm)
        say(f"timm: {encoder.name}, in {settings.timm}")
    if _is_rough(encoder):
        say("What was exported computes in float32, the encoder in bfloat16: vectors differ by about a "
            "hundredth of their length, and images between two classes may get the other one.")
    return targets


def _is_rough(encoder: EncoderLike) -> bool:
    """Whether a part of the encoder computes in bfloat16, as no exported file does."""
    facts = encoder.facts
    return any(part.get("precision") == "bfloat16" for part in (facts, *facts.get("parts", ())))


def _opened(settings: ExportSettings) -> tuple[Predictor | None, EncoderLike]:
    from hundredfold.encode.opening import open_encoder
    from hundredfold.predict.predictor import Predictor

    if Predictor.is_at(settings.model):
        predictor = Predictor.load(settings.model)
        return predictor, predictor.encoder
    return None, open_encoder(str(settings.model))


def _told(predictor: Predictor | None, encoder: EncoderLike) -> str:
    if predictor is None:
        return f"the encoder {encoder.name}, vectors of {encoder.dimension:,} numbers"
    kind = "scores" if predictor.calibration is None else "probabilities"
    return f"{predictor.facts['classifier']} on {encoder.name}, {kind} of {len(predictor.classes)} classes"
