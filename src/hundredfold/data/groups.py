"""Patients and slides, by DICOM files and by the paths of images."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from hundredfold.config import GroupChoices
from hundredfold.data.file import frame_of
from hundredfold.data.naming import Naming
from hundredfold.data.source import Found, find
from hundredfold.data.table import ImageTable
from hundredfold.errors import SettingsError
from hundredfold.url import Url

__all__ = ["compiled", "find_grouped", "groups_by_pattern", "told_by_dicom"]


def find_grouped(source: Path | Url, choices: GroupChoices, naming: Naming | None = None) -> Found:
    """The images of a source as :func:`~hundredfold.data.source.find` lists them, with their groups.

    Args:
        source: a folder, archive, table or URL.
        choices: who is whose.
        naming: of DICOM files, where it is not what is chosen.

    Raises:
        SettingsError: the key cannot be used, or the pattern is none or matches no image.
    """
    found = find(source, naming or Naming.of(choices.dicom_groups, choices.group_key))
    if choices.group_pattern is None:
        return found
    return replace(found, table=groups_by_pattern(found.table, choices.group_pattern))


def told_by_dicom(found: Found) -> Iterator[str]:
    """What DICOM files told of patients, in numbers, as lines to be said."""
    if found.grouped:
        yield (
            f"DICOM: {found.grouped:,} files are grouped by {found.naming.group_by}, their numbers hashed "
            f"with {found.naming.told}. Groups in the labels go first."
        )
    if found.named:
        yield (
            f"Warning: the names of {found.named:,} files hold the name or number of their patient, and a "
            "run keeps the names of files. Rename them before you pass it on."
        )


def compiled(pattern: str) -> re.Pattern[str]:
    """The pattern, if it is one.

    Raises:
        SettingsError: it is no regular expression, or has more than one group in brackets.
    """
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise SettingsError(
            f"expected a regular expression, found {pattern!r}: {error}", where="group_pattern",
            remedy=r"For example --group-pattern '(patient_\d+)'; the quotes are for the shell.",
        ) from None
    if found.groups > 1:
        raise SettingsError(
            f"expected one pair of brackets around what names the patient, found {found.groups}",
            where="group_pattern", remedy="Write the others as (?:…).",
        )
    return found


def groups_by_pattern(table: ImageTable, pattern: str) -> ImageTable:
    r"""Take each image's group from its path: what stands in the pattern's brackets, or all that matches.

    The number of a frame is no part of it. Images that the pattern does not match keep the group that they
    have.

    Raises:
        SettingsError: it is no pattern, or no image matches.

    Examples:
        >>> table = ImageTable.of({"id": ["smear_1/a.png", "smear_1/b.png", "other.png"]})
        >>> groups_by_pattern(table, r"smear_(\d+)").frame["group"].tolist()
        ['1', '1', nan]
    """
    expression = compiled(_composed(pattern))
    places = table.frame["path"].astype(str)
    found = [
        expression.search(_composed(name if frame_of(name, place) is None else name.rpartition("#")[0]))
        for name, place in zip(table.frame["id"].astype(str), places, strict=True)
    ]
    if found and not any(found):
        raise SettingsError(
            f"the pattern {pattern!r} is in none of the {len(found):,} paths", where=table.ids[0],
            remedy="It is looked for in the path below IMAGES, as given here for the first image.",
        )
    named = table.frame["group"].copy()
    for row, match in enumerate(found):
        if match is not None and (name := match.group(expression.groups)):
            named.iloc[row] = name
    return table.assign(group=named)


def _composed(text: str) -> str:
    """An accent is a letter's own: a path may write it otherwise than the pattern, or than another path."""
    return unicodedata.normalize("NFC", text)
