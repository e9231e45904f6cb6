"""Low resolution first: most steps on small crops, which are cheap, and the last ones at full size."""

from __future__ import annotations

from dataclasses import dataclass

from hundredfold.views.multicrop import MultiCrop

__all__ = ["Curriculum", "low_size"]


def low_size(size: int, step: int = 16) -> int:
    """Side in px of the crops before the last part of a run: half, in whole patches.

    Examples:
        >>> low_size(224), low_size(112), low_size(56), low_size(16)
        (112, 64, 32, 16)
    """
    return min(size, -(-size // 2 // step) * step)


@dataclass(frozen=True)
class Curriculum:
    """The views of each step: ``low`` before step ``switch``, ``full`` from it on.

    A step's crops do not depend on how it was reached, so a resume finds the same ones.

    Source:
        Zhang et al. 2025, "FastDINOv2", arXiv 2507.03779, section 3: low resolution for 3/4 of the epochs.
    """

    low: MultiCrop
    full: MultiCrop
    switch: int = 0

    def at(self, step: int) -> MultiCrop:
        """The views of ``step``."""
        return self.full if step >= self.switch else self.low
