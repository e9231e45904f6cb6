"""Patients and slides by the paths of their images."""

from __future__ import annotations

import re

from hundredfold.data.table import ImageTable
from hundredfold.errors import SettingsError

__all__ = ["compiled", "groups_by_pattern"]


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
    r"""Take each image's group from its id: what stands in the pattern's brackets, or all that matches.

    Images that the pattern does not match keep the group that they have.

    Raises:
        SettingsError: it is no pattern, or no image matches.

    Examples:
        >>> table = ImageTable.of({"id": ["smear_1/a.png", "smear_1/b.png", "other.png"]})
        >>> groups_by_pattern(table, r"smear_(\d+)").frame["group"].tolist()
        ['1', '1', nan]
    """
    expression = compiled(pattern)
    found = [expression.search(str(name)) for name in table.ids]
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
