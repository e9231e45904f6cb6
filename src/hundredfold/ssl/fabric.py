"""Lightning Fabric, loaded without torchmetrics, of which it only wants to know the version.

Where both are installed torchmetrics loads transformers, which takes longer than all the rest of a start.
Nothing here uses either; who imports them has them as ever.
"""

from __future__ import annotations

from hundredfold.backbones.quick import standing_in

__all__ = ["DDPStrategy", "Fabric", "LightningEnvironment"]

with standing_in("torchmetrics", None):
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy
