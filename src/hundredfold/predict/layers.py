"""A whole predictor as one torch module: images in; class, scores, probabilities and vectors out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hundredfold.encode.layers import EncoderLayers
from hundredfold.learn.calibrate import LEAST, Calibration
from hundredfold.learn.layers import as_layers
from hundredfold.predict.predictor import Predictor

__all__ = ["CalibrationLayer", "PredictorLayers"]


class PredictorLayers(nn.Module):
    """Images uint8 ``[b, h, h, 3]`` of the encoder's size → what a predictor says of them.

    Args:
        predictor: fitted; it is not changed.

    ``outputs`` names what :meth:`forward` gives, in order: ``label`` int64 ``[b]``, the number of the class
    that the classifier decides for; ``scores`` float32 ``[b, c]``; ``probabilities`` float32 ``[b, c]``,
    where the predictor has any; ``embedding`` float32 ``[b, d]``.

    Raises:
        SettingsError: the encoder or the classifier has no such form.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.encoder = EncoderLayers(predictor.encoder)
        self.pipeline = as_layers(predictor.pipeline)
        found = predictor.calibration
        self.calibration = None if found is None else CalibrationLayer(found)
        self.outputs = ("label", "scores", *(("probabilities",) if found else ()), "embedding")

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Images [b,h,h,3] → the outputs, in order."""
        embedding = self.encoder(images)
        label, scores = self.pipeline(embedding.double())
        probabilities = () if self.calibration is None else (self.calibration(scores).float(),)
        return (label, scores.float(), *probabilities, embedding)


class CalibrationLayer(nn.Module):
    """Scores float64 ``[b, c]`` → probabilities ``[b, c]``, all classes being equally common.

    Examples:
        >>> layer = CalibrationLayer(Calibration("temperature", False, ((2.0,),), (9, 9)))
        >>> layer(torch.tensor([[0.0, 0.0]], dtype=torch.float64)).tolist()
        [[0.5, 0.5]]
    """

    def __init__(self, calibration: Calibration) -> None:
        super().__init__()
        self.logarithms = calibration.logarithms
        curves = [torch.tensor(curve, dtype=torch.float64) for curve in calibration.curves]
        self.temperature = calibration.method == "temperature"
        kind = _Stairs if calibration.method == "isotonic" else _Sigmoid
        self.curves = nn.ModuleList(kind(curve) for curve in ([] if self.temperature else curves))
        self.inverse = calibration.curves[0][0]

    def forward(self, scores: Tensor) -> Tensor:
        """Scores [b,c] → probabilities [b,c]."""
        evidence = torch.log(torch.clamp(scores, min=LEAST)) if self.logarithms else scores
        if self.temperature:
            return torch.softmax(evidence * self.inverse, 1)
        found = torch.stack([curve(evidence[:, number]) for number, curve in enumerate(self.curves)], 1)
        total = found.sum(1, keepdim=True)
        none = total <= 0
        alike = torch.full_like(found, 1 / found.shape[1])
        return torch.where(none, alike, found / torch.where(none, torch.ones_like(total), total))


class _Sigmoid(nn.Module):
    def __init__(self, curve: Tensor) -> None:
        super().__init__()
        self.slope, self.offset = (float(value) for value in curve)

    def forward(self, values: Tensor) -> Tensor:
        return torch.sigmoid(self.slope * values + self.offset)


class _Stairs(nn.Module):
    """Linear between steps and flat beyond, as a sum of ramps: ``interp`` is no operation of a graph."""

    starts: Tensor
    widths: Tensor
    rises: Tensor

    def __init__(self, curve: Tensor) -> None:
        super().__init__()
        places, heights = torch.chunk(curve, 2)
        self.register_buffer("starts", places[:-1])
        self.register_buffer("widths", torch.diff(places))
        self.register_buffer("rises", torch.diff(heights) / torch.diff(places))
        self.lowest = float(heights[0])

    def forward(self, values: Tensor) -> Tensor:
        along = torch.minimum(torch.clamp(values.unsqueeze(1) - self.starts, min=0), self.widths)
        return self.lowest + (along * self.rises).sum(1)  # [b,steps] -> [b]
