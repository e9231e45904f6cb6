"""How names and numbers are written, on the page and in its figures."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from hashlib import sha256

import numpy as np

__all__ = [
    "AUDIT_SET", "LEVEL", "compact", "encoder_label", "features_words", "file_name", "in_lines", "interval",
    "many", "method_label", "method_words", "percent_of", "probability", "share", "shown",
    "shown_apart", "tick",
]

#: a p-value below is told from chance
LEVEL = 0.05
#: what the images of an audit set are, where they are the test images
AUDIT_SET = "the audit set, set aside at random before anything was learned"

#: name → how a sentence calls the features of an encoder, and how a table or figure does
ENCODERS = {
    "pretrained": ("the pre-trained features", "pre‑trained"),
    "adapted": ("the features before pre-training, adapted to these images", "adapted"),
    "initial": ("the features before pre-training", "before pre‑training"),
    "thumbnail": ("raw thumbnails with colour histograms", "thumbnails + colour"),
    "shortcut": ("brightness, colour, size and source alone", "shortcuts alone"),
}
#: name → how a sentence calls a classifier, and how a table or figure does
METHODS = {
    "svm": ("the SVM", "SVM"),
    "knn": ("the k-nearest-neighbour classifier", "k nearest neighbours"),
    "logistic": ("logistic regression", "logistic regression"),
    "lda": ("linear discriminant analysis", "linear discriminant"),
    "prototype": ("the nearest class mean", "nearest class mean"),
    "last_layer": ("the trained last layer", "last layer"),
    "network": ("the network trained end to end", "network, end to end"),
}


def features_words(name: str) -> str:
    """How a sentence calls the features of an encoder.

    Examples:
        >>> features_words("pretrained-224px"), features_words("timm-resnet18")
        ('the pre-trained features at 224 px', 'the features of timm-resnet18')
    """
    own, size = _at_size(name)
    if own not in ENCODERS:
        return f"the features of {shown(name)}"
    return ENCODERS[own][0] + (f" at {size} px" if size else "")


def encoder_label(name: str) -> str:
    """How a table or figure calls an encoder.

    Examples:
        >>> encoder_label("thumbnail"), encoder_label("timm-resnet18"), encoder_label("adapted-224px")
        ('thumbnails + colour', 'timm-resnet18', 'adapted, 224 px')
    """
    own, size = _at_size(name)
    if own not in ENCODERS:
        return shown(name)
    return ENCODERS[own][1] + (f", {size} px" if size else "")


def _at_size(name: str) -> tuple[str, str]:
    """The encoder of embeddings that ``--embed-size`` asked for, and the size; of others it is empty."""
    found = re.fullmatch(r"(.+)-(\d+)px", name)
    return (found[1], found[2]) if found else (name, "")


def method_words(name: str) -> str:
    """How a sentence calls a classifier.

    Examples:
        >>> method_words("svm"), method_words("forest")
        ('the SVM', 'forest')
    """
    return METHODS[name][0] if name in METHODS else shown(name)


def method_label(name: str) -> str:
    """How a table or figure calls a classifier.

    Examples:
        >>> method_label("svm"), method_label("forest")
        ('SVM', 'forest')
    """
    return METHODS[name][1] if name in METHODS else shown(name)


def shown(text: object, longest: int = 40) -> str:
    r"""A name as it can be shown: one line, no control characters, never longer than ``longest``.

    Examples:
        >>> shown("two\nlines")
        'two lines'
        >>> shown("a" * 50, longest=10)
        'aaaaaaaaa…'
    """
    kept = (" " if _is_control(letter) else letter for letter in str(text))
    line = " ".join("".join(kept).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def shown_apart(names: Sequence[str], longest: int) -> list[str]:
    """Names as :func:`shown`; where two would be cut to the same, all are cut in the middle, or not at all.

    Grades and stages often differ in their last letters alone.

    Examples:
        >>> shown_apart(["colitis-grade-1", "colitis-grade-2"], 10)
        ['colit…de-1', 'colit…de-2']
        >>> shown_apart(["adipose tissue", "debris"], 10)
        ['adipose t…', 'debris']
    """
    whole = [shown(name, len(name)) for name in names]
    left, right = longest // 2, longest - longest // 2 - 1
    middle = [name if len(name) <= longest else f"{name[:left]}…{name[-right:]}" for name in whole]
    cut = [shown(name, longest) for name in names]
    return next((some for some in (cut, middle) if len(set(some)) == len(set(whole))), whole)


def share(value: float, digits: int = 2) -> str:
    """A share without its leading zero, as medical journals print it.

    One that is not 1 is not rounded to it: it gets up to two more digits, and is cut off there. Nor is one
    that is not 0 rounded to 0, with its sign lost, before two more digits are tried.

    Examples:
        >>> share(0.8149), share(1.0), share(-0.052), share(float("nan"))
        ('.81', '1.00', '−.05', '–')
        >>> share(0.9961), share(0.99996), share(-0.0041), share(1e-9)
        ('.996', '.9999', '−.004', '.00')
    """
    if value is None or not np.isfinite(value):
        return "–"
    text = plain = f"{abs(value):.{digits}f}"
    for more in (digits + 1, digits + 2):
        if float(text) == 1 > abs(value) or float(text) == 0:
            text = f"{abs(value):.{more}f}"
    if float(text) == 0:
        text = plain
    if float(text) == 1 > abs(value):
        text = "0." + "9" * (digits + 2)
    sign = "−" if value < 0 and float(text) else ""
    return sign + (text[1:] if text.startswith("0.") else text)


def interval(low: float, high: float) -> str:
    """Two shares with an en dash; empty where there is no interval.

    Examples:
        >>> interval(0.79, 0.834), interval(-0.003, 0.02)
        ('.79–.83', '−.003–.02')
    """
    return f"{share(low)}–{share(high)}" if np.isfinite(low) and np.isfinite(high) else ""


def probability(p: float, smallest: float = 0.0) -> str:
    """A p-value as journals print it, with its sign.

    Args:
        p: the p-value.
        smallest: the least that could have been found: so many resamples cannot tell a smaller one.

    Examples:
        >>> probability(0.0312), probability(0.0004), probability(0.4)
        ('= .031', '< .001', '= .40')
        >>> probability(0.02, smallest=0.02), probability(0.0496)
        ('≤ .020', '= .0496')
    """
    if p < 0.001:
        return "< .001"
    sign = "≤" if p <= smallest * (1 + 1e-9) else "="
    near = p < LEVEL <= round(p, 3)  # rounded, it would be on the other side of what decides
    return f"{sign} {share(p, 4 if near else 3 if p < 0.095 else 2)}"


def tick(value: float, _place: object = None) -> str:
    """A share on an axis, with as many digits as the tick has, so that no two ticks are called alike.

    Examples:
        >>> [tick(value) for value in (0, 0.85, 0.9, 1.0, -0.005)]
        ['0', '.85', '.9', '1', '−.005']
    """
    text = f"{abs(value):.4g}" if abs(value) > 1e-9 else "0"
    return ("−" if value < 0 and text != "0" else "") + (text[1:] if text.startswith("0.") else text)


def many(count: int, one: str, several: str = "") -> str:
    """A count with its noun.

    Examples:
        >>> many(1, "test image"), many(1200, "test image"), many(2, "class", "classes")
        ('1 test image', '1,200 test images', '2 classes')
    """
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def percent_of(value: float) -> str:
    """A share in whole per cent, rounded towards the middle: what is not all is not 100, nor nothing 0.

    Examples:
        >>> percent_of(0.996), percent_of(1.0), percent_of(0.004), percent_of(0.505)
        ('99', '100', '1', '50')
    """
    rounded = round(100 * value)
    return str(min(max(rounded, 1), 99) if 0 < value < 1 else rounded)


def file_name(kind: str, name: str) -> str:
    """The name of a file; letters that a file system might refuse become hyphens.

    Names of which only hyphens would be left, or which are cut, are told apart by their hash.

    Examples:
        >>> file_name("curve", "svm"), file_name("strata", "age group")
        ('curve_svm', 'strata_age-group')
        >>> file_name("strata", "年龄") != file_name("strata", "性别")
        True
    """
    kept = "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name)[:60]
    told = "" if name.isascii() and len(name) == len(kept) else f"-{sha256(name.encode()).hexdigest()[:8]}"
    return f"{kind}_{kept}{told}"


def compact(count: float) -> str:
    """A count in at most five characters.

    Examples:
        >>> compact(275), compact(1045), compact(27500), compact(1_200_000)
        ('275', '1,045', '27.5k', '1.2M')
    """
    if count < 9999.5:
        return f"{count:,.0f}"
    unit, size = ("M", 1e6) if count >= 999_950 else ("k", 1e3)
    return f"{count / size:.1f}".removesuffix(".0") + unit


def in_lines(words: str, width: int, *, lines: int = 2) -> str:
    r"""Words broken where they have a space, underscore or hyphen, into lines of about ``width`` letters.

    Examples:
        >>> in_lines("neutrophil_segmented", 16)
        'neutrophil_\nsegmented'
    """
    broken = [""]
    for part in re.findall(r"[^ _-]*[ _-]?", shown(words, width * lines)):
        if broken[-1] and len(broken[-1] + part.rstrip()) > width and len(broken) < lines:
            broken.append("")
        broken[-1] += part
    return "\n".join(line.strip() for line in broken)


def _is_control(letter: str) -> bool:
    # Cf holds the marks that turn the writing direction, with which a name can disguise itself.
    return unicodedata.category(letter) in {"Cc", "Cs", "Cf", "Zl", "Zp"}
