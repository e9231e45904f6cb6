"""The published data sets by name."""

from __future__ import annotations

from hundredfold.data.datasets.base import DataSet
from hundredfold.data.datasets.bone_marrow import BONE_MARROW
from hundredfold.data.datasets.endoscopy import ENDOSCOPY
from hundredfold.data.datasets.isic import ISIC
from hundredfold.data.datasets.medmnist import MEDMNIST
from hundredfold.registry import Registry

__all__ = ["DATASETS"]

#: name → :class:`DataSet`; other packages add theirs by the entry-point group ``hundredfold.dataset``.
DATASETS: Registry[DataSet] = Registry("dataset")

for _dataset in (BONE_MARROW, ENDOSCOPY, ISIC, MEDMNIST):
    DATASETS.add(_dataset.name, _dataset)
