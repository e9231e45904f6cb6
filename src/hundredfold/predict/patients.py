"""Whether a predictor learned from the patients whose images it is given, as far as names can tell."""

from __future__ import annotations

from pathlib import Path

from hundredfold.config import GroupChoices
from hundredfold.data.groups import find_grouped
from hundredfold.data.naming import Naming, are_hashed
from hundredfold.data.source import Found
from hundredfold.data.table import ImageTable
from hundredfold.predict.explain import Resemblance
from hundredfold.predict.memory import Memory, hidden_group
from hundredfold.predict.predictor import Predictor
from hundredfold.url import Url

__all__ = ["found_for", "known_groups", "whose_are"]


def known_groups(
    predictor: Predictor, memory: Memory, images: ImageTable, naming: Naming
) -> dict[str, int] | None:
    """How many images are of groups that bear names of groups it learned from, and how many such groups.

    They may be the same patients, or others who are called alike; names alone cannot tell. ``None`` where
    patients of DICOM files were named with another key, or on one side only, which tells nothing at all.

    Args:
        predictor: says with what key its groups were named, if they were.
        memory: of the predictor.
        images: new ones.
        naming: with what their DICOM files were named.
    """
    learned = {group for group in memory.groups[memory.labelled] if group is not None}
    named = images.frame["group"].dropna()
    shared = named[[hidden_group(one) in learned for one in named]]
    key = naming.fingerprint if are_hashed(named) else None
    if learned and len(named) and shared.empty and key != predictor.facts.get("group_key"):
        return None
    return {"images": len(shared), "groups": int(shared.nunique())}


def found_for(predictor: Predictor, source: Path | Url, choices: GroupChoices) -> Found:
    """The images of a source, with groups under the names that the predictor has for the same patients.

    Patients of DICOM files are told only with the key that it learned with: under another one nobody is known
    again, and with a key of chance no two calls would find the same.
    """
    naming = Naming.of(choices.dicom_groups, choices.group_key)
    same = naming.fingerprint == predictor.facts.get("group_key")
    return find_grouped(source, choices, naming if same else Naming())


def whose_are(images: ImageTable, known: Resemblance) -> str:
    """A sentence: whether the neighbours of new images are of other patients.

    Args:
        images: the new ones.
        known: the labelled ones.
    """
    groups = images.usable.frame["group"]
    learned = set(known.groups)
    missing = int(groups.isna().sum())
    if learned <= {None}:
        return "The predictor knows no patients: the nearest may be of the same one."
    if missing == len(groups):
        return (
            "Whose the images are is not known: the nearest may be of the same patient, and at a similarity "
            "of 1.000 the same picture. Name patients (--group-pattern, --group-key, or a table with a "
            "column group)."
        )
    if not any(hidden_group(name) in learned for name in groups.dropna().unique()):
        return (
            "No image is of a patient whose name the predictor knows: where one has another name here, the "
            "nearest may be of the same patient."
        )
    some = f" Of {missing:,} images it is not known whose they are." if missing else ""
    return f"Labelled images of an image's own patient are left out.{some}"
