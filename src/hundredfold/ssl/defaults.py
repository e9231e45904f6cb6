"""Defaults that fit the data: from how many images of which size, on which device, to values with reasons.

A setting that the user gave stands. The rules are few and monotone, and each says what it was taken from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from hundredfold.config import FittedChoices, PretrainChoices
from hundredfold.ssl.device import default_image_size
from hundredfold.ssl.schedules import default_momentum, default_warmup

__all__ = ["Circumstances", "Fitted", "fit_settings", "fit_to_steps", "warnings_of", "without_effect"]

T = TypeVar("T")
#: A value and a short reason.
Rule: TypeAlias = tuple[T, str]

SMALLEST_BATCH = 16
#: 64 was measured on two cores, where more would leave few steps an hour; 256 is the papers', on GPUs.
LARGEST_CPU_BATCH, LARGEST_GPU_BATCH = 64, 256
#: Steps that one pass over the images is cut into, at least.
STEPS_AN_EPOCH = 16
#: Share of the memory that the activations kept for the gradient may take.
MEMORY_SHARE = 0.5

FEWEST_PROTOTYPES, MOST_PROTOTYPES = 256, 65_536
IMAGES_A_PROTOTYPE = 4
#: Prototypes a target (two targets an image) under Sinkhorn: most that was measured as good here, and most
#: that is known to work, with batches of thousands (DINOv2: 65,536 at 2,048 images).
SINKHORN_GOOD, SINKHORN_KNOWN = 8, 16

EPOCHS = 100
FEWEST_STEPS, MOST_STEPS = 2_000, 100_000

#: Fewer steps than this leave good initial weights worse than they were; of few images, more are needed.
FEW_STEPS, FEW_STEPS_OF_FEW_IMAGES, FEW_IMAGES = 200, 500, 1_000


@dataclass(frozen=True)
class Circumstances:
    """What the defaults depend on.

    Args:
        images: how many may be learned from.
        stored_size: their side in px.
        device: ``cpu``, ``cuda`` or ``mps``.
        memory: in bytes, of all devices that share a batch; ``None`` where it is not known.
        footprint: side of a global crop, side of a local crop, number of local crops → bytes that a step
            keeps for the gradient of one image; ``None`` where it is not known.
    """

    images: int
    stored_size: int
    device: str
    memory: int | None = None
    footprint: Callable[[int, int, int], int] | None = None


@dataclass(frozen=True)
class Fitted:
    """The settings of a run, and why each default that depends on the data is what it is.

    Args:
        settings: the values.
        reasons: setting → a short reason, for those that the user left open.
    """

    settings: FittedChoices
    reasons: Mapping[str, str]

    def note(self) -> dict[str, dict[str, object]]:
        """What ``run.json`` keeps, for readers and for a resume."""
        return {
            name: {"value": getattr(self.settings, name), "reason": reason}
            for name, reason in self.reasons.items()
        }

    @classmethod
    def of_note(cls, choices: PretrainChoices, note: Mapping[str, Mapping[str, object]]) -> Fitted:
        """What a run was begun with: a resume decides nothing anew."""
        values = {name: entry["value"] for name, entry in note.items()}
        return cls(_fixed(choices, values), {name: str(entry["reason"]) for name, entry in note.items()})

    def lines(self) -> list[str]:
        """One line a default that has a part in the training: name, value, reason."""
        idle = () if self.settings.local_crops else ("local_size",)
        return [
            f"{name} {getattr(self.settings, name):,g}: {why}"
            for name, why in self.reasons.items() if name not in idle
        ]


def fit_settings(choices: PretrainChoices, found: Circumstances) -> Fitted:
    """Give every setting that was left open its value; a schedule's need :func:`fit_to_steps` as well.

    Examples:
        >>> found = Circumstances(images=6188, stored_size=112, device="cpu")
        >>> for line in fit_settings(PretrainChoices.of(), found).lines():
        ...     print(line)
        image_size 112: the stored images' 112 px, at most 112 px on a CPU
        batch_size 64: an epoch of 6,188 images has 16 steps or more, and 64 is the most on a CPU
        prototypes 1,024: one for 4 of 6,188 images, and at most 8 for each of Sinkhorn's 128 targets
        epochs 100: 9,600 steps
    """
    decided = _Decisions(choices)
    size = decided("image_size", _image_size(found))
    local = decided("local_size", (size // 2, "half of image_size"))
    rule = None if choices.batch_size else _batch_size(found, size, local, choices.local_crops)
    batch = decided("batch_size", rule)
    decided("prototypes", _prototypes(found.images, batch, choices.centring))
    if choices.minutes is None:
        decided("epochs", _epochs(found.images, min(batch, found.images)))
    return Fitted(_fixed(choices, decided.values), decided.reasons)


def fit_to_steps(fitted: Fitted, steps: int) -> Fitted:
    """Give what depends on the number of steps its value, too.

    Examples:
        >>> fitted = fit_settings(PretrainChoices.of(minutes=20), Circumstances(6188, 112, "cpu"))
        >>> fit_to_steps(fitted, 500).lines()[-2:]
        ['warmup 0.1: 50 of 500 steps', 'momentum 0.99: the teacher averages over 100 of 500 steps']
    """
    decided = _Decisions(fitted.settings)
    warmup = default_warmup(steps)
    decided("warmup", (warmup, f"{round(warmup * steps):,} of {steps:,} steps"))
    momentum = default_momentum(steps)
    reach = round(1 / (1 - momentum))
    decided("momentum", (momentum, f"the teacher averages over {reach:,} of {steps:,} steps"))
    return Fitted(_fixed(fitted.settings, decided.values), {**fitted.reasons, **decided.reasons})


def warnings_of(
    settings: FittedChoices, *, steps: int, batch_size: int, images: int, random: bool
) -> list[str]:
    """What can be said against a plan before its first step, as sentences without a full stop.

    Args:
        settings: of the run.
        steps: of the whole run.
        batch_size: images a step, over all ranks.
        images: how many are learned from.
        random: whether the backbone starts from random weights.
    """
    told = []
    few = images < FEW_IMAGES and not random
    needed = FEW_STEPS_OF_FEW_IMAGES if few else FEW_STEPS
    if steps < needed:
        of = f" of {images:,} images" if few else ""
        harm = (
            "an encoder that has learned next to nothing" if random
            else "an encoder worse than its initial weights, which the untrained head pulls astray"
        )
        told.append(
            f"{steps} steps{of} are few: below some {needed} expect {harm}. Give more --minutes or --epochs"
        )
    if settings.centring == "sinkhorn" and settings.prototypes > SINKHORN_KNOWN * 2 * batch_size:
        told.append(
            f"{settings.prototypes:,} prototypes are many for Sinkhorn, which shares out the "
            f"{2 * batch_size} targets of a step evenly: over {SINKHORN_KNOWN} for a target, most get next "
            f"to nothing. Give --prototypes {_power(SINKHORN_GOOD * 2 * batch_size)}, a larger --batch-size, "
            "or --centring ema"
        )
    return told


def without_effect(choices: PretrainChoices) -> list[str]:
    """Settings that were given and have no part in the training, as sentences without a full stop.

    Examples:
        >>> without_effect(PretrainChoices.of(local_size=48))
        ['local_size has no effect, as no local crops are drawn: --local-crops 4 draws four']
        >>> without_effect(PretrainChoices.of(local_size=48, local_crops=4))
        []
    """
    preset = PretrainChoices.presets[choices.preset]

    def given(name: str) -> bool:
        return bool(getattr(choices, name) != preset.get(name, PretrainChoices.model_fields[name].default))

    idle = {}
    if not choices.local_crops:
        why = "no local crops are drawn: --local-crops 4 draws four"
        idle = {"local_size": why, "local_scale": why}
    if choices.centring == "sinkhorn":
        idle["centre_momentum"] = "Sinkhorn has no centre: --centring ema has one"
    return [f"{name} has no effect, as {why}" for name, why in idle.items() if given(name)]


class _Decisions:
    """Collects the values of what was left open, with their reasons."""

    def __init__(self, choices: PretrainChoices) -> None:
        self.choices = choices
        self.values: dict[str, object] = {}
        self.reasons: dict[str, str] = {}

    def __call__(self, name: str, rule: Rule[T] | None) -> T:
        given: T | None = getattr(self.choices, name)
        if given is not None:
            return given
        assert rule is not None
        self.values[name], self.reasons[name] = rule
        return rule[0]


def _image_size(found: Circumstances) -> Rule[int]:
    kind = "CPU" if found.device == "cpu" else "GPU"
    limit = default_image_size(10**6, found.device)
    side = default_image_size(found.stored_size, found.device)
    return side, f"the stored images' {found.stored_size} px, at most {limit} px on a {kind}"


def _batch_size(found: Circumstances, size: int, local: int, crops: int) -> Rule[int]:
    """The largest power of two that images, device and memory allow.

    Small sets need many small steps rather than few large ones. DINO works with small batches: at 128 it
    came within two points of 1,024 (Caron et al. 2021, table 9).
    """
    images = f"an epoch of {found.images:,} images has {STEPS_AN_EPOCH} steps or more"
    kind, most = ("CPU", LARGEST_CPU_BATCH) if found.device == "cpu" else ("GPU", LARGEST_GPU_BATCH)
    batch = min(most, max(SMALLEST_BATCH, _power(found.images // STEPS_AN_EPOCH)))
    reason = f"{images}, and {most} is the most on a {kind}" if batch == most else images
    if batch == SMALLEST_BATCH:
        reason = "the least, for few images"
    if found.memory and found.footprint:
        each = max(1, found.footprint(size, local, crops))
        room = _power(int(found.memory * MEMORY_SHARE / each))
        if room < batch:
            batch = max(2, room)
            reason = f"{each / 1e6:,.0f} MB an image, in half of {found.memory / 1e9:,.1f} GB of memory"
    if found.images < batch:
        batch, reason = found.images, "all images there are"
    return batch, reason


def _prototypes(images: int, batch: int, centring: str) -> Rule[int]:
    """A power of two near a quarter of the images.

    1,024 were good for 6,000 images, while 2,048 at the same batch stayed at the uniform collapse (DESIGN,
    decision 6); 65,536 are the papers' for 10⁵ to 10⁶ images. Sinkhorn cannot share out a batch that is small
    against the prototypes (Caron et al. 2020, arXiv 2006.09882, section 3.1).
    """
    number = min(MOST_PROTOTYPES, max(FEWEST_PROTOTYPES, _power(images // IMAGES_A_PROTOTYPE)))
    reason = f"one for {IMAGES_A_PROTOTYPE} of {images:,} images"
    if number in (FEWEST_PROTOTYPES, MOST_PROTOTYPES):
        reason += f", within {FEWEST_PROTOTYPES} and {MOST_PROTOTYPES:,}"
    if centring == "sinkhorn":
        number = min(number, _power(SINKHORN_GOOD * 2 * batch))
        reason += f", and at most {SINKHORN_GOOD} for each of Sinkhorn's {2 * batch} targets"
    return number, reason


def _epochs(images: int, batch: int) -> Rule[float]:
    """A hundred passes, more where they are few steps, and fewer where they are very many.

    528 steps improved good weights on 5,600 images and 985 on 6,200, while 208 on 519 images harmed them: a
    small set needs more passes to come to as many steps.
    """
    an_epoch = images // batch
    fewest, most = math.ceil(FEWEST_STEPS / an_epoch), math.floor(100 * MOST_STEPS / an_epoch) / 100
    epochs = float(min(max(EPOCHS, fewest), most))
    return epochs, f"{round(epochs * an_epoch):,} steps"


def _power(number: int) -> int:
    """The largest power of two that is not larger, at least 1."""
    return 1 << max(0, number.bit_length() - 1)


def _fixed(choices: PretrainChoices, values: Mapping[str, object]) -> FittedChoices:
    given = choices.model_dump(include=set(PretrainChoices.model_fields))
    return FittedChoices.of(**{**given, **values})
