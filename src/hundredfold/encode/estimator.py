"""An encoder as a scikit-learn transformer: images → vectors, in front of any classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from hundredfold.encode.opening import open_encoder
from hundredfold.encode.protocol import EncoderLike

__all__ = ["EmbeddingTransformer"]


class EmbeddingTransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn images uint8 ``[n, h, h, 3]`` into vectors float32 ``[n, d]`` by a frozen encoder.

    Nothing is learned: ``fit`` opens the encoder. One that was pre-trained has seen images, though, and where
    those are among the ones that judge, ``cross_val_score`` is too good: ``encoder_.seen`` says which.

    Args:
        encoder: what :func:`~hundredfold.encode.opening.open_encoder` opens (a run, an encoder folder,
            ``timm:NAME``, ``thumbnail``, several joined by ``+``), or an encoder.
        weights, download: as there.
        batch_size: images encoded at once.

    Attributes:
        encoder_: the opened encoder.

    Examples:
        >>> from sklearn.neighbors import KNeighborsClassifier
        >>> from sklearn.pipeline import make_pipeline
        >>> images = np.repeat(np.array([0, 255], dtype=np.uint8), 3 * 8 * 8 * 3).reshape(6, 8, 8, 3)
        >>> model = make_pipeline(EmbeddingTransformer("thumbnail"), KNeighborsClassifier(1))
        >>> model.fit(images[1:5], ["dark", "dark", "bright", "bright"]).predict(images[[0, 5]]).tolist()
        ['dark', 'bright']
    """

    def __init__(
        self, encoder: str | Path | EncoderLike = "thumbnail", *, weights: str = "auto",
        download: bool = False, batch_size: int = 64,
    ) -> None:
        self.encoder = encoder
        self.weights = weights
        self.download = download
        self.batch_size = batch_size

    def fit(self, X: object = None, y: object = None) -> Self:  # noqa: ARG002, N803
        """Open the encoder; neither images nor labels are looked at.

        Raises:
            SettingsError, WeightsError, ModelFileError: it cannot be opened.
        """
        given = self.encoder
        self.encoder_: EncoderLike = (
            open_encoder(str(given), weights=self.weights, download=self.download)
            if isinstance(given, str | Path) else given
        )
        return self

    def transform(self, X: NDArray[np.uint8]) -> NDArray[np.float32]:  # noqa: N803
        """Images uint8 ``[n, h, h, 3]`` → vectors ``[n, d]``.

        Raises:
            InputError: these are no such images.
        """
        check_is_fitted(self)
        x = np.asarray(X)
        starts = range(0, max(1, len(x)), self.batch_size)
        return np.concatenate([self.encoder_.encode(x[at : at + self.batch_size]) for at in starts])

    @property
    def _n_features_out(self) -> int:
        return self.encoder_.dimension

    def __sklearn_tags__(self) -> Tags:
        tags: Any = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.requires_fit = True
        return tags
