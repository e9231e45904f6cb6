"""What may be done to which modality, and why.

A view may only change what does not change the diagnosis. Colour jitter is given as torchvision's
``ColorJitter`` takes it: a factor from ``1 - x`` to ``1 + x``; hue in turns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hundredfold.errors import SettingsError
from hundredfold.registry import Registry

__all__ = ["MODALITIES", "Modality"]

#: probability for the first global crop, the second global crop, and every local crop.
ByView = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Modality:
    """The changes that leave an image of this kind what it is.

    Args:
        name: the name it is registered under.
        reason: why, as one sentence.
        left_out: what is not done or hardly, and why, as one sentence.
        aspect: how much a crop may be stretched one way: its greatest width / height and height / width.
        flip_horizontal: probability of mirroring left and right.
        flip_vertical: probability of mirroring top and bottom.
        rotation: largest turn to either side, in degrees.
        perspective: how far a corner moves, as a share of half the side (torchvision's
            ``distortion_scale``).
        perspective_p: probability of the perspective.
        frame: what is turned and tilted: the ``crop`` about its own centre, which keeps it on the
            image, or, as the reference does, the whole ``image`` before it is cropped.
        border: what lies outside the image: its reflection, or black.
        brightness: of the jitter.
        contrast: of the jitter, about the crop's mean grey.
        saturation: of the jitter.
        hue: of the jitter, in turns.
        jitter_p: probability of the jitter.
        greyscale_p: probability of taking all colour away.
        blur_p: probability of a Gaussian blur.
        blur: smallest and largest sigma, as a share of the side of a *global* crop, for local crops
            too: crops of both kinds show the tissue at about the same scale, and the same blur
            removes the same detail. DINO's .1–2 px at 224 px are .0004–.009.
        blur_reach: where the kernel ends, as a share of the side of a global crop; never beyond
            three sigma.
        solarise_p: probability of inverting every value from 128 upwards.
        stained: the colour is that of dyes, so ``--stain`` may normalise it.

    Raises:
        SettingsError: a probability or strength is out of its range.

    Examples:
        >>> MODALITIES["xray"].symmetry, MODALITIES["oct"].symmetry, MODALITIES["microscopy"].symmetry
        ('none', 'mirror', 'dihedral')
    """

    name: str
    reason: str
    left_out: str = ""
    aspect: float = 4 / 3
    flip_horizontal: float = 0.5
    flip_vertical: float = 0.0
    rotation: float = 0.0
    perspective: float = 0.0
    perspective_p: ByView = (0.5, 0.5, 0.5)
    frame: Literal["crop", "image"] = "crop"
    border: Literal["reflect", "black"] = "reflect"
    brightness: float = 0.3
    contrast: float = 0.3
    saturation: float = 0.0
    hue: float = 0.0
    jitter_p: float = 0.8
    greyscale_p: float = 0.0
    blur_p: ByView = (0.5, 0.1, 0.3)
    blur: tuple[float, float] = (0.1 / 224, 2 / 224)
    blur_reach: float = 1.0
    solarise_p: ByView = (0.0, 0.0, 0.0)
    stained: bool = False

    def __post_init__(self) -> None:
        shares = {
            "flip_horizontal": (self.flip_horizontal,), "flip_vertical": (self.flip_vertical,),
            "perspective": (self.perspective,), "perspective_p": self.perspective_p,
            "jitter_p": (self.jitter_p,), "greyscale_p": (self.greyscale_p,), "blur_p": self.blur_p,
            "solarise_p": self.solarise_p, "brightness": (self.brightness,),
            "contrast": (self.contrast,), "saturation": (self.saturation,), "blur": self.blur,
        }
        for field, values in shares.items():
            if not all(0 <= value <= 1 for value in values):
                self._refuse(field, values, "from 0 to 1")
        if not 0 <= self.hue <= 0.5:
            self._refuse("hue", self.hue, "from 0 to 0.5 turns")
        if not 0 <= self.rotation <= 180:
            self._refuse("rotation", self.rotation, "from 0 to 180 degrees")
        if not 1 <= self.aspect < math.inf:
            self._refuse("aspect", self.aspect, "at least 1")
        if not (self.blur[0] <= self.blur[1] and math.isfinite(self.blur_reach) and self.blur_reach > 0):
            self._refuse("blur", (*self.blur, self.blur_reach), "ordered, and of positive reach")

    @property
    def symmetry(self) -> Literal["none", "mirror", "dihedral"]:
        """The symmetries of the square that leave an image valid, for averaging an embedding over them."""
        if self.flip_horizontal and self.flip_vertical and self.rotation >= 90:
            return "dihedral"
        return "mirror" if self.flip_horizontal else "none"

    def check_stain(self, method: str) -> None:
        """Make sure that colours are normalised only where they come from a dye.

        Raises:
            SettingsError: ``method`` is not ``none``, and they do not.
        """
        if method != "none" and not self.stained:
            stained = ", ".join(name for name in MODALITIES if MODALITIES[name].stained)
            raise SettingsError(
                f"--stain {method} is for stained slides ({stained}), found the modality {self.name}",
                remedy="Leave --stain out: here colour is a finding, or there is none. If these are slides, "
                "say so with --modality.",
            )

    def _refuse(self, field: str, found: object, expected: str) -> None:
        raise SettingsError(
            f"{field} of a modality must be {expected}, found {found}", where=self.name,
            remedy="Correct it where the modality is registered.",
        )


#: name → :class:`Modality`; other packages add theirs by the entry-point group ``hundredfold.modality``.
MODALITIES: Registry[Modality] = Registry("modality")

for _modality in (
    Modality(
        name="microscopy",
        reason=(
            "A cell lies on the slide at any angle and either way round, and lamp and stain vary from day "
            "to day, but roundness and the hue of granules tell cells apart, so both change little."
        ),
        left_out=(
            "No solarisation, which turns nuclei bright as no microscope does, little stretch, hue and "
            "tilt, and greyscale for one view in ten only, against learning the stain alone."
        ),
        aspect=1.15, flip_vertical=0.5, rotation=180, perspective=0.1,
        saturation=0.2, hue=0.03, greyscale_p=0.1, stained=True,
    ),
    Modality(
        name="histology",
        reason=(
            "A section has no up and no mirror side and is flat, so it is turned and flipped but not "
            "tilted, and stain and scanner differ more between laboratories than between classes."
        ),
        left_out=(
            "No perspective, for a slide lies flat, no solarisation, for dark nuclei on a pale ground are "
            "the image itself, and hue only as far as stains vary, for haematoxylin and eosin must stay "
            "apart."
        ),
        flip_vertical=0.5, rotation=180,
        saturation=0.3, hue=0.05, greyscale_p=0.1, stained=True,
    ),
    Modality(
        name="endoscopy",
        reason=(
            "The scope rolls freely and looks at the wall obliquely under a lamp whose distance varies, "
            "while the redness of the mucosa is a finding."
        ),
        left_out=(
            "No greyscale and little hue, for redness, blood and bile are findings, and no solarisation, "
            "which would invert the gloss that shows the surface."
        ),
        flip_vertical=0.5, rotation=180, perspective=0.3,
        brightness=0.4, contrast=0.4, saturation=0.2, hue=0.03,
    ),
    Modality(
        name="dermoscopy",
        reason=(
            "A dermatoscope is held at any angle over a flat lesion, and its colours (blue veil, red, white) "
            "are criteria, so they move little."
        ),
        left_out=(
            "No greyscale and hardly any hue, for the number of colours is a criterion, no solarisation, "
            "and little stretch, for asymmetry is one too."
        ),
        aspect=1.15, flip_vertical=0.5, rotation=180, perspective=0.1,
        saturation=0.2, hue=0.02,
    ),
    Modality(
        name="xray",
        reason=(
            "A chest X-ray is never mirrored, for the heart's side is a finding, and patients stand upright; "
            "exposure and windowing vary, colour does not exist."
        ),
        left_out=(
            "No flip, for the side and what lies below are findings, no blur, which wipes out nodules and "
            "fine lines (Sowrirajan et al. 2021, arXiv 2010.05352), no solarisation, which makes bone of "
            "air, no perspective, little stretch, for the heart's width is measured, and no hue, "
            "saturation or greyscale."
        ),
        aspect=1.15, flip_horizontal=0.0, rotation=10, brightness=0.4, contrast=0.4, blur_p=(0.0, 0.0, 0.0),
    ),
    Modality(
        name="ultrasound",
        reason=(
            "The probe may be held either way round, but the beam comes from above, so shadow and "
            "enhancement stay below a lesion: no vertical flip and only a small tilt."
        ),
        left_out=(
            "No flip up and down and no large turn, for depth runs downwards, no perspective, little "
            "stretch, for taller than wide is a sign of malignancy, less blur, for speckle is texture, no "
            "solarisation, which makes a cyst solid, and no hue, saturation or greyscale; where sides "
            "matter (the heart), register a modality without the mirror."
        ),
        aspect=1.15, rotation=8, brightness=0.4, contrast=0.4, blur_p=(0.3, 0.1, 0.2),
    ),
    Modality(
        name="oct",
        reason=(
            "Mirroring turns a right eye into a left one, but the order of the retinal layers from top to "
            "bottom is the anatomy."
        ),
        left_out=(
            "No flip up and down, no large turn and no perspective, for they break the order of the "
            "layers, less blur, for layers are a few px thin, no solarisation, which swaps fluid and "
            "tissue, and no hue, saturation or greyscale."
        ),
        rotation=10, blur_p=(0.3, 0.1, 0.2),
    ),
    Modality(
        name="fundus",
        reason=(
            "Mirroring turns a right eye into a left one and the head tilts a little, while the colour of "
            "haemorrhage, exudate and disc is a finding."
        ),
        left_out=(
            "No flip up and down, for the arcades and the disc have their places, no greyscale and hardly "
            "any hue, for red and yellow lesions differ in colour, no perspective and no solarisation."
        ),
        rotation=30, saturation=0.2, hue=0.02,
    ),
    Modality(
        name="paper",
        reason=(
            "The settings of Nielsen et al. 2023 as their code has them, black corners and a blur cut at 11 "
            "px included, to stand beside their results."
        ),
        left_out="Nothing: it is the one set of changes that they used for every modality.",
        flip_vertical=0.5, rotation=180, perspective=0.5, perspective_p=(0.75, 0.5, 0.5),
        frame="image", border="black",
        brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, greyscale_p=0.2,
        blur_p=(1.0, 0.1, 0.5), blur=(0.1 / 256, 5 / 256), blur_reach=5 / 256,
        solarise_p=(0.0, 0.2, 0.0), stained=True,
    ),
    Modality(
        name="natural",
        reason="The settings of DINO (Caron et al. 2021) for photographs: they have an up but no handedness.",
        left_out="No flip up and down, no turn and no perspective.",
        brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, greyscale_p=0.2,
        blur_p=(1.0, 0.1, 0.5), solarise_p=(0.0, 0.2, 0.0),
    ),
):
    MODALITIES.add(_modality.name, _modality)
