"""Settings of ``pretrain``: DINO on the user's own images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hundredfold.config.base import OptionalPlace, Place, ResumableSettings, Settings
from hundredfold.config.scan import PixelChoices

__all__ = ["FittedChoices", "PretrainChoices", "PretrainSettings"]

Unit = Field(ge=0, le=1)

#: Settings that say how the work is done, not what comes out; a resume may change them.
FREE = frozenset({
    "download", "monitor_every", "log_every", "logger", "checkpoint_minutes", "workers",
    "gradient_checkpointing",
})

PAPER: Mapping[str, Any] = {
    "backbone": "xcit_small_12_p8_224.fb_dist_in1k",
    "modality": "paper",
    "image_size": 256,
    "local_size": 96,
    "local_crops": 5,
    "global_scale": (0.5, 1.0),
    "local_scale": (0.1, 0.5),
    "batch_size": 256,
    "learning_rate": 5e-4,
    "learning_rate_end": 0.0,
    "weight_decay": 0.04,
    "weight_decay_end": 0.4,
    "warmup": 2 / 300,
    "clip": 0.32,
    "momentum": 0.9995,
    "teacher_temperature": 0.02,
    "teacher_temperature_end": 0.04,
    "teacher_temperature_warmup": 10 / 300,
    "student_temperature": 0.1,
    "centring": "ema",
    "centre_momentum": 0.9,
    "koleo": 0.0,
    "prototypes": 65536,
    "head_layers": 4,
    "head_hidden": 2048,
    "head_bottleneck": 256,
    "freeze_last_layer": 1 / 300,
    "drop_path": 0.0,
    "curriculum": 0.0,
    "symmetry": "none",
    "stages": 0,
}


class PretrainChoices(Settings):
    """How the encoder is learned. Warm-ups are fractions of the steps of the run."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}, "paper": PAPER}

    preset: Literal["default", "paper"] = Field(
        "default", description="Our settings, or those of Nielsen et al. 2023."
    )
    backbone: str = Field(
        "efficientnet_lite0.ra_in1k", description="Any timm model that returns a feature vector."
    )
    weights: str = Field(
        "auto", description="Initial weights: auto (timm's), none (random), a weights file, or a run."
    )
    download: bool = Field(False, description="Allow the download that --weights auto needs.")
    modality: str = Field(
        "microscopy", description="What may be done to the images; see docs/modalities.md."
    )
    epochs: float | None = Field(
        None, gt=0,
        description="Passes over the images [default: 100, within 2,000 and 100,000 steps; paper: 300]."
    )
    minutes: float | None = Field(
        None, gt=0, description="Instead of epochs: as many steps as fit in this wall-clock time."
    )
    transductive: bool = Field(
        False,
        description="Let pre-training see test images too (without labels), never those of an audit set; "
        "the report says so.",
    )

    image_size: int | None = Field(
        None, ge=16, le=1024,
        description="Side of a global crop in px [default: that of the stored images, at most 112 on a "
        "CPU, 224 on a GPU].",
    )
    local_size: int | None = Field(
        None, ge=8, le=1024,
        description="Side of a local crop in px, if there are any [default: half of image_size].",
    )
    local_crops: int = Field(
        0, ge=0, le=16, description="Local crops an image; none by default, as measured (docs/recipes.md)."
    )
    global_scale: tuple[float, float] = Field(
        (0.4, 1.0), description="Share of the image's area in a global crop, from and to."
    )
    local_scale: tuple[float, float] = Field(
        (0.1, 0.4), description="Share of the image's area in a local crop, if there are any, from and to."
    )

    curriculum: float = Field(
        0.0, ge=0, lt=1, description="Share of the steps, from the first, on crops of half the size."
    )

    batch_size: int | None = Field(
        None, ge=2,
        description="Images a step, over all processes [default: a 16th of the images, within 16 and 64 "
        "on a CPU, 256 on a GPU; less where memory is short].",
    )
    learning_rate: float = Field(2e-3, gt=0, description="Peak learning rate at batch 256.")
    learning_rate_rule: Literal["linear", "sqrt"] = Field(
        "linear", description="How it follows the batch: times batch/256, or times the square root of that."
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1,
        description="Learning rate of each layer of the backbone as a share of the next one's; 1: all alike.",
    )
    learning_rate_end: float = Field(1e-6, ge=0, description="Learning rate of the last step.")
    weight_decay: float = Field(0.04, ge=0, description="Weight decay at the start.")
    weight_decay_end: float = Field(0.4, ge=0, description="Weight decay at the end.")
    warmup: float | None = Field(
        None, ge=0, le=1,
        description="Share of the steps the learning rate rises [default: .05, or 50 steps up to .2].",
    )
    clip: float = Field(0.32, ge=0, description="Adaptive gradient clipping; 0 switches it off.")
    drop_path: float = Field(0.0, ge=0, lt=1, description="Stochastic depth of the student.")

    momentum: float | None = Field(
        None, ge=0, lt=1,
        description="Teacher momentum at the start, rising to 1 "
        "[default: max(.99, 1 - 20/steps), at most .9995].",
    )
    student_temperature: float = Field(0.1, gt=0, description="Temperature of the student.")
    teacher_temperature: float = Field(0.02, gt=0, description="Teacher temperature at the start.")
    teacher_temperature_end: float = Field(0.02, gt=0, description="Teacher temperature after warm-up.")
    teacher_temperature_warmup: float = Field(
        0.1, ge=0, le=1, description="Share of the steps the teacher temperature takes to its end."
    )
    centring: Literal["ema", "sinkhorn"] = Field(
        "sinkhorn", description="How the teacher is kept from collapse."
    )
    centre_momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of the EMA centre.")
    koleo: float = Field(0.0, ge=0, description="Weight of the KoLeo spread regulariser.")

    prototypes: int | None = Field(
        None, ge=2,
        description="Outputs of the projection head [default: a quarter of the images, within 256 and "
        "65,536, with Sinkhorn at most 16 times the batch].",
    )
    head_layers: int = Field(3, ge=1, le=8, description="Linear layers before the last one.")
    head_hidden: int = Field(2048, ge=8, description="Width of the head.")
    head_bottleneck: int = Field(256, ge=4, description="Width before the last layer.")
    freeze_last_layer: float = Field(
        0.0, ge=0, le=1, description="Share of the steps the last layer stays as it is."
    )
    freeze_backbone: float = Field(
        0.0, ge=0, le=1, description="Share of the steps the backbone stays as it is while the head warms up."
    )

    teacher_batchnorm: Literal["batch", "running"] = Field(
        "batch", description="Statistics a teacher with BatchNorm normalises by while it trains."
    )
    symmetry: Literal["auto", "none", "mirror", "dihedral"] = Field(
        "auto",
        description="What the encoder averages over: nothing, an image and its mirror image, or its 8 turned "
        "and mirrored ones; auto: all that the modality allows.",
    )

    stages: int | None = Field(
        None, ge=0, le=8,
        description="Last stages of the backbone whose mean maps stand beside the encoder's features "
        "[default: 3 of a convolutional one, else 0].",
    )

    precision: Literal["auto", "float32", "bfloat16", "float64"] = Field(
        "auto",
        description="Arithmetic of the backbone; auto follows a measured table, float64 is for checks."
    )
    gradient_checkpointing: bool = Field(
        False,
        description="Compute activations again in the backward pass: less memory, more time. The default "
        "batch does not count on it: give a larger --batch-size.",
    )
    autotune: bool = Field(
        False, description="Time the ways to compute a step (arithmetic, memory format, attention kernel) "
        "and take the fastest, in place of the table's."
    )
    workers: int | None = Field(
        None, ge=0, le=256,
        description="Processes that draw views [default: 0 on a CPU, else the cores less one, at most 16].",
    )
    monitor_every: int = Field(50, ge=1, description="Steps between two looks at spread and entropies.")
    log_every: int | None = Field(
        None, ge=1,
        description="Steps between two readings of the loss from the device [default: 1 on a CPU, else 20].",
    )
    logger: tuple[str, ...] = Field(
        (),
        description="Where to log besides metrics.jsonl: tensorboard, wandb, mlflow, with commas. Offline, "
        "unless WANDB_MODE or MLFLOW_TRACKING_URI says otherwise.",
    )
    checkpoint_minutes: float = Field(5.0, gt=0, description="Minutes between two checkpoints.")

    @model_validator(mode="before")
    @classmethod
    def _length(cls, given: Any) -> Any:
        paper = isinstance(given, dict) and given.get("preset") == "paper"
        if paper and given.get("epochs") is None and given.get("minutes") is None:
            return {**given, "epochs": 300}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.epochs is not None and self.minutes is not None:
            raise ValueError("epochs and minutes exclude each other")
        for name in ("global_scale", "local_scale"):
            low, high = getattr(self, name)
            if not 0 < low <= high <= 1:
                raise ValueError(f"{name} must be two shares 0 < from <= to <= 1, found {low} and {high}")
        return self


class FittedChoices(PretrainChoices):
    """Choices in which every default that depends on the data has its value (``ssl/defaults.py``)."""

    image_size: int = Field(description="As in the choices.")
    local_size: int = Field(description="As in the choices.")
    batch_size: int = Field(description="As in the choices.")
    prototypes: int = Field(description="As in the choices.")


class PretrainSettings(PretrainChoices, PixelChoices, ResumableSettings):
    """The settings of ``pretrain``."""

    positional: ClassVar[tuple[str, ...]] = ("images",)

    images: Place = Field(description="A folder, archive or table of images, a URL, or a scanned run.")
    labels: OptionalPlace = Field(
        None, description="Labels, used only to hold out the test images and to watch the kNN."
    )
