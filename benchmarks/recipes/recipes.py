"""The recipes that are compared: what each changes of the defaults, and where the idea is from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["BASIS", "DEFAULT", "MODALITY", "RECIPES", "Recipe"]

#: Settings that cost a step nothing: with KoLeo and EMA centring it took .927 and .929 s in place of .932.
FREE = {
    "learning_rate", "learning_rate_rule", "koleo", "centring", "teacher_temperature",
    "teacher_temperature_end", "layer_decay", "weight_decay_end", "freeze_backbone",
}

DEFAULT = "default"
#: What ``default`` was when all of this was measured, and every recipe changes; ``no_local`` is that of now.
BASIS: Mapping[str, Any] = {"local_crops": 4}

#: data set → the kind of its images.
MODALITY = {"pbc_blood_cells": "microscopy", "chula_rbc": "microscopy", "busi_ultrasound": "ultrasound"}


@dataclass(frozen=True)
class Recipe:
    """Changes of the settings of ``pretrain``, and why they might help."""

    name: str
    why: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def paced_as(self) -> str:
        """The recipe whose seconds a step it has: the first that changes the same of what costs time."""
        costly = {name: value for name, value in self.changes.items() if name not in FREE}
        return next((name for name, one in RECIPES.items() if one.changes == costly), self.name)


def _all() -> tuple[Recipe, ...]:
    return (
        Recipe(DEFAULT, "the defaults"),
        Recipe("curriculum_0.75", "FastDINOv2: low resolution first", {"curriculum": 0.75}),
        Recipe("sqrt_rate", "Malladi et al. 2022, for Adam", {"learning_rate_rule": "sqrt"}),
        Recipe("rate_half", "small data", {"learning_rate": 1e-3}),
        Recipe("rate_double", "short runs", {"learning_rate": 4e-3}),
        Recipe("batch_128", "more targets a step", {"batch_size": 128}),
        Recipe("koleo_0.1", "DINOv2, RedDino", {"koleo": 0.1}),
        Recipe("ema_centring", "DINO", {"centring": "ema"}),
        Recipe("prototypes_256", "small data", {"prototypes": 256}),
        Recipe("prototypes_4096", "the papers have many", {"prototypes": 4096}),
        Recipe(
            "temperature_0.04", "DINO",
            {"teacher_temperature": 0.04, "teacher_temperature_end": 0.04},
        ),
        Recipe("no_local", "DinoBloom: without local crops", {"local_crops": 0}),
        Recipe("local_2", "cheaper steps, so more of them", {"local_crops": 2}),
        Recipe("local_6", "DINO has 8", {"local_crops": 6}),
        Recipe("scale_dino", "DINO", {"global_scale": (0.25, 1.0), "local_scale": (0.05, 0.25)}),
        Recipe("scale_dinov2", "DINOv2", {"global_scale": (0.32, 1.0), "local_scale": (0.05, 0.32)}),
        Recipe("scale_paper", "Nielsen et al. 2023", {"global_scale": (0.5, 1.0), "local_scale": (0.1, 0.5)}),
        Recipe("freeze_0.05", "a new head pulls good weights astray", {"freeze_backbone": 0.05}),
        Recipe("freeze_0.1", "a new head pulls good weights astray", {"freeze_backbone": 0.1}),
        Recipe("no_local_freeze_0.05", "both of what gained", {"local_crops": 0, "freeze_backbone": 0.05}),
        Recipe("layers_0.75", "early layers are general", {"layer_decay": 0.75}),
        Recipe("layers_0.9", "early layers are general", {"layer_decay": 0.9}),
        Recipe("decay_constant", "DINO ends at .4, after far more steps", {"weight_decay_end": 0.04}),
        Recipe("running_batchnorm", "a teacher without the batch's noise", {"teacher_batchnorm": "running"}),
        Recipe("drop_path_0.1", "DINO", {"drop_path": 0.1}),
    )


#: name → recipe, in the order in which they are tried.
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in _all()}
