"""What only the author of a study knows, from a file that no report overwrites."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path

import yaml

from hundredfold.errors import InputError

__all__ = ["AUTHOR", "MISSING", "read_author"]

AUTHOR = "author.yaml"
MISSING = "author must supply"


def read_author(folder: Path, known: Collection[str]) -> Mapping[str, str]:
    """The answers in ``author.yaml``: key → words; empty where there is no such file.

    Args:
        folder: the run.
        known: the keys that may be answered.

    Raises:
        InputError: it is no YAML of keys and words, or a key is unknown.
    """
    path = folder / AUTHOR
    if not path.is_file():
        return {}
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot be read as YAML: {' '.join(str(error).split())[:200]}", where=path,
            remedy="Write a line a key, as: intended_use: to sort smears for a second look.",
        ) from None
    if not isinstance(given, dict) or not all(isinstance(words, str) for words in given.values()):
        raise InputError(
            "expected keys with words, found something else", where=path,
            remedy="Put words with a colon or a leading number in quotes.",
        )
    for key in given:
        if key not in known:
            near = get_close_matches(str(key), list(known), n=2)
            raise InputError(
                f"expected a key of the card, found {key!r}", where=path,
                remedy=f"Did you mean {' or '.join(near)}?" if near else "The card's tables name the keys.",
            )
    return {str(key): words for key, words in given.items()}
