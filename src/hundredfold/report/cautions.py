"""What a reader must know before trusting a number."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from hundredfold.data.table import ImageTable
from hundredfold.report.material import Material
from hundredfold.report.tables import TINY, Headline, at_point, listed
from hundredfold.report.words import shown

__all__ = ["Caution", "cautions"]

FEW_TEST_IMAGES = 200
FEW_GROUPS = 10

LEAK = (
    "Images of the test set, or their groups, may also be training images. The accuracy is then too high and "
    "must not be reported."
)
TRANSDUCTIVE = "It saw them without their labels. For new patients expect a somewhat lower accuracy."
NO_GROUPS = (
    "The labels name no group, so images of one patient may be on both sides of the split, and the accuracy "
    "and its intervals may be too good. Add a column group to the labels if you can."
)
SOME_WITHOUT_GROUP = "They may come from a patient on the other side of the split."
ONE_IN_TEN_GROUPS = (
    "With fewer than 10 there is no interval: how the accuracy varies from patient to patient cannot be told."
)
ABSENT = "nothing can be said of them, and the balanced accuracy leaves them out."
SMALL = "each counts as much as a large class in the balanced accuracy, so a few images move it."
NO_INTERVAL = (
    "There are too few groups for one, or it was switched off; the ranges shown are those of the draws of "
    "labels and say nothing of other patients."
)


@dataclass(frozen=True)
class Caution:
    """A title of a few words, and a sentence or two."""

    title: str
    sentence: str


def cautions(material: Material, at: Headline | None) -> list[Caution]:
    """What to keep in mind, the gravest first."""
    found = [*_leaks(material), *_alarms(material)]
    if material.images is not None and len(material.images.train):
        found += [*_groups(material.images), *_test_set(material.images)]
    if at is not None and material.curve is not None and not _has_interval(material.curve, at):
        found.append(Caution("The accuracy has no interval.", NO_INTERVAL))
    return found + _unfinished(material)


def _leaks(material: Material) -> list[Caution]:
    found = []
    if any(given.get("allow_leak") for given in material.settings.values()):
        found.append(Caution("A leak was allowed.", LEAK))
    if material.pretraining.get("transductive") or material.state.get("transductive"):
        found.append(Caution("Pre-training saw the test images (transductive).", TRANSDUCTIVE))
    return found


def _alarms(material: Material) -> list[Caution]:
    alarms = material.pretraining.get("alarms") or []
    return [Caution("Pre-training raised an alarm.", _told(alarm)) for alarm in alarms]


def _told(alarm: object) -> str:
    if isinstance(alarm, dict):
        return shown("; ".join(f"{name}: {value}" for name, value in alarm.items()), 300)
    return shown(alarm, 300)


def _groups(images: ImageTable) -> list[Caution]:
    labelled = pd.concat([images.train.frame, images.test.frame])
    missing = int(labelled["group"].isna().sum())
    if missing == len(labelled):
        return [Caution("No patients or slides are known.", NO_GROUPS)]
    found = [Caution(f"{missing:,} labelled images have no group.", SOME_WITHOUT_GROUP)] if missing else []
    groups = int(images.test.frame["group"].nunique())
    if not missing and groups < FEW_GROUPS:
        are = "group is" if groups == 1 else "groups are"
        found.append(Caution(f"Only {groups} {are} in the test set.", ONE_IN_TEN_GROUPS))
    return found


def _test_set(images: ImageTable) -> list[Caution]:
    found = []
    numbers = images.test.frame["label"].value_counts().reindex(images.train.classes).fillna(0)
    if numbers.sum() < FEW_TEST_IMAGES:
        found.append(
            Caution(f"Only {int(numbers.sum()):,} test images.", "The accuracy is rough; see its interval.")
        )
    if absent := sorted(numbers[numbers == 0].index):
        found.append(Caution("Classes without test images.", f"{listed(absent)}: {ABSENT}"))
    if tiny := sorted(numbers[(numbers > 0) & (numbers < TINY)].index):
        found.append(Caution(f"Classes with under {TINY} test images.", f"{listed(tiny)}: {SMALL}"))
    return found


def _has_interval(curve: pd.DataFrame, at: Headline) -> bool:
    rows = at_point(curve, at)
    rows = rows[rows["metric"] == "balanced_accuracy"]
    return bool(rows[["low", "high"]].notna().all(axis=None))


def _unfinished(material: Material) -> list[Caution]:
    stages = material.state.get("stages", {})
    halted = {name: facts.get("status") for name, facts in stages.items() if facts.get("status") != "done"}
    halted.pop("report", None)
    return [
        Caution(f"The stage {name} is not finished ({status}).", "Continue it with --resume.")
        for name, status in halted.items()
    ]
