"""What is fixed before the first step."""

from __future__ import annotations

from dataclasses import dataclass

from hundredfold.ssl.arrangement import Arrangement, MemoryFormat, Precision

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """What is fixed before the first step, written to the run, and used again by a resume."""

    steps: int
    batch_size: int
    image_size: int
    local_size: int
    precision: Precision
    workers: int
    memory_format: MemoryFormat = "channels_last"
    fused_from: int = 0
    low_steps: int = 0  # at low resolution, before all others

    @property
    def arrangement(self) -> Arrangement:
        """How a step is computed."""
        return Arrangement(self.precision, self.memory_format, self.fused_from)
