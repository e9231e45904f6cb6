"""What can go wrong, as a tree.

Every message says what was found, where, and what to do about it::

    HundredfoldError                 exit code 1: a fault of ours, or of the machine
    ├── TrainingError                the training cannot go on (loss not finite)
    └── InputError                   exit code 2: the input or the settings
        ├── SettingsError            a setting, or two that exclude each other
        ├── TableError               a CSV or Parquet table
        ├── LabelConflictError       one image with two labels
        ├── ImageError               one image that cannot be used; carries a reason code
        ├── TooManyRejectsError      more bad images than ``--max-bad`` allows
        ├── SplitError               a split that cannot be drawn, or a group on both sides
        ├── LeakError                test images that are also training images
        ├── RunExistsError           the stage is already in the run directory
        ├── RunBusyError             another process works on the stage now
        ├── RunMissingError          what a verb needs is not in the run directory
        ├── WeightsError             weights that cannot be found, downloaded or fitted
        └── ModelFileError           a model file that is damaged, edited or of a refused kind
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = [
    "HundredfoldError",
    "ImageError",
    "InputError",
    "LabelConflictError",
    "LeakError",
    "ModelFileError",
    "RunBusyError",
    "RunExistsError",
    "RunMissingError",
    "SettingsError",
    "SplitError",
    "TableError",
    "TooManyRejectsError",
    "TrainingError",
    "WeightsError",
]


class HundredfoldError(Exception):
    """A fault with what was found, where, and the remedy.

    Args:
        found: what was expected and what was found, as one sentence without the full stop.
        where: the file, row or setting it was found in.
        remedy: what the user can do, as a sentence.

    Examples:
        >>> print(InputError("no such folder", where="imagse/", remedy="Check the path."))
        no such folder (imagse/). Check the path.
    """

    exit_code = 1

    def __init__(self, found: str, *, where: object = None, remedy: str = "") -> None:
        self.found = found
        self.where = None if where is None else str(where)
        self.remedy = remedy
        place = f" ({self.where})" if self.where else ""
        super().__init__(f"{found}{place}." + (f" {remedy}" if remedy else ""))

    def __reduce__(self) -> tuple[Callable[..., HundredfoldError], tuple[object, ...]]:
        """For the way out of another process, where the sentence must not be made of itself again."""
        return _restored, (type(self), self.args, self.__dict__)


def _restored(
    kind: type[HundredfoldError], told: tuple[object, ...], facts: dict[str, object]
) -> HundredfoldError:
    error = kind.__new__(kind)
    error.args = told
    error.__dict__.update(facts)
    return error


class TrainingError(HundredfoldError):
    """The training cannot go on, for example because the loss is not finite."""


class InputError(HundredfoldError):
    """The input or the settings are at fault; nothing was computed from them."""

    exit_code = 2


class SettingsError(InputError):
    """A setting out of its range, or two settings that exclude each other."""


class TableError(InputError):
    """A CSV or Parquet table that does not have the columns or rows it should have."""


class LabelConflictError(InputError):
    """One image carries two labels; fitting would learn from a contradiction."""


class ImageError(InputError):
    """One image that cannot be used.

    Args:
        reason: the reason code that goes to ``rejects.csv`` (``truncated``, ``too_small`` …).
        sentence: one sentence; never a name or tag of a patient.
    """

    def __init__(self, reason: str, sentence: str) -> None:
        self.reason = reason
        self.sentence = sentence
        super().__init__(sentence.rstrip("."))


class TooManyRejectsError(InputError):
    """More images are unusable than ``max_bad`` allows."""


class SplitError(InputError):
    """A split that cannot be drawn, or one that puts a group on both sides."""


class LeakError(InputError):
    """Test images are also training images."""


class RunExistsError(InputError):
    """The run directory already holds the stage that was to be written."""


class RunBusyError(InputError):
    """Another process works on the same stage of the same run."""


class RunMissingError(InputError):
    """The run directory lacks what a verb needs."""


class WeightsError(InputError):
    """Weights that cannot be found, may not be downloaded, or do not fit the backbone."""


class ModelFileError(InputError):
    """A model file that is damaged, was edited, or is of a kind that is never loaded."""
