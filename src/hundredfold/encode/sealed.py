"""JSON files that hold a hash of themselves and the version of their layout: encoder.json, predictor.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hundredfold.errors import ModelFileError

__all__ = ["SCHEMA_VERSION", "read_sealed", "sealed"]

SCHEMA_VERSION = 1


def sealed(facts: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The facts, the version of the layout, and under ``key`` the SHA-256 over all that.

    Examples:
        >>> found = sealed({"classes": ["a", "b"]}, "hash")
        >>> list(found), found["hash"][:8]
        (['schema_version', 'classes', 'hash'], '432ebf87')
    """
    own = {name: value for name, value in facts.items() if name not in {"schema_version", key}}
    found = {"schema_version": SCHEMA_VERSION, **own}
    return {**found, key: _digest(found, key)}


def read_sealed(path: Path, key: str, *, kind: str, made_by: str, required: bool = True) -> dict[str, Any]:
    """Read what :func:`sealed` gave and was written as JSON.

    Args:
        path: the file.
        key: the name of the hash.
        kind: what its folder is (``predictor``), in words.
        made_by: the verb that writes such.
        required: whether a file without a hash is refused; encoders of before have none.

    Raises:
        ModelFileError: it is missing, no JSON object, of another version, or was edited.
    """
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise TypeError(f"a {type(facts).__name__}")
        digest = _digest(facts, key)
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise ModelFileError(
            f"expected {_a(kind)} folder, found no readable {path.name}", where=path.parent,
            remedy=f"Give a folder that `hundredfold {made_by}` wrote, or a run that holds one; no pickle is "
            "ever loaded.",
        ) from error
    _check_version(facts, path, kind)
    if facts.get(key, None if required else digest) != digest:
        raise ModelFileError(
            "the hash in the file is not that of its contents: it was edited or damaged", where=path,
            remedy=f"Copy the {kind} again from where it was made, or make it again "
            f"(`hundredfold {made_by}`).",
        )
    return facts


def _digest(facts: Mapping[str, Any], key: str) -> str:
    """SHA-256 over the facts, their own hash left out."""
    own = {name: value for name, value in facts.items() if name != key}
    return hashlib.sha256(json.dumps(own, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _check_version(facts: Mapping[str, Any], path: Path, kind: str) -> None:
    """Before the hash is looked at: another version may take it over other things."""
    found = facts.get("schema_version")
    if type(found) is int and found == SCHEMA_VERSION:
        return
    if type(found) is not int:
        raise ModelFileError(
            f"the file does not say of which version it is, found {found!r}: it was edited or damaged",
            where=path, remedy=f"Copy the {kind} again from where it was made.",
        )
    software = facts.get("software")
    writer = software.get("hundredfold") if isinstance(software, dict) else None
    newer = found > SCHEMA_VERSION
    raise ModelFileError(
        f"{_a(kind)} of {'a newer' if newer else 'an older'} hundredfold{f' ({writer})' if writer else ''}: "
        f"its layout is of version {found}, this program reads version {SCHEMA_VERSION}", where=path,
        remedy=f"{'Update hundredfold' if newer else 'Make it again'}, or use the version that wrote it.",
    )


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
