"""Whether a predictor learned from the patients whose images it is given, as far as names can tell."""

from __future__ import annotations

from hundredfold.data.naming import Naming, are_hashed
from hundredfold.data.table import ImageTable
from hundredfold.predict.memory import Memory, hidden_group
from hundredfold.predict.predictor import Predictor

__all__ = ["known_groups"]


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
