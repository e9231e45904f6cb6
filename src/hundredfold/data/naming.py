"""How patients and studies of DICOM files become groups that name no one."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from hundredfold.errors import SettingsError

__all__ = ["KEY_VARIABLE", "Naming", "are_hashed", "hashed"]

KEY_VARIABLE = "HUNDREDFOLD_GROUP_KEY"
SHORTEST_KEY = 16
#: A name as :func:`hundredfold.data.header.group_of` gives it.
HASHED = "(patient|study)-[0-9a-f]{20}"
BY_CHANCE = (
    "a key of chance that is kept nowhere (another run names the same groups otherwise; see --group-key)"
)


@dataclass(frozen=True)
class Naming:
    """What groups of DICOM files are, and what their numbers are hashed with.

    Args:
        group_by: ``patient``, ``study`` or ``none``.
        key: at most 64 bytes.
        told: where the key comes from, as part of a sentence.
    """

    group_by: str = "none"
    key: bytes = b""
    told: str = ""

    @classmethod
    def of(cls, group_by: str, file: Path | None) -> Self:
        """The key in a file, else that in ``HUNDREDFOLD_GROUP_KEY``, else one of chance.

        Raises:
            SettingsError: the file cannot be read, or the key is so short that it can be guessed.
        """
        if file is not None:
            return cls(group_by, _digest(_content(file), file), f"the key in {file}")
        if secret := os.environ.get(KEY_VARIABLE, "").strip():
            return cls(group_by, _digest(secret.encode(), KEY_VARIABLE), f"the key in {KEY_VARIABLE}")
        return cls(group_by, secrets.token_bytes(64), BY_CHANCE)

    @property
    def fingerprint(self) -> str:
        """Tells keys apart, and not what they are: where it is the same, a patient has the same name."""
        kind = self.group_by.encode()
        return hashlib.blake2b(kind, digest_size=8, key=self.key, person=b"hundredfold").hexdigest()


def hashed(groups: pd.Series) -> pd.Series:
    """Which of the groups are named by a hash, as those of DICOM files are.

    Examples:
        >>> hashed(pd.Series(["p1", None, "study-" + 20 * "0"])).tolist()
        [False, False, True]
    """
    return groups.astype("str").str.fullmatch(HASHED, na=False).astype(bool)


def are_hashed(groups: pd.Series) -> bool:
    """Whether some of the groups are."""
    return bool(hashed(groups).any())


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"the key cannot be read: {error.strerror}", where=file,
            remedy=f"Name a file of {SHORTEST_KEY} bytes or more that others cannot read.",
        ) from None


def _digest(secret: bytes, where: object) -> bytes:
    if len(secret) < SHORTEST_KEY:
        raise SettingsError(
            f"expected a key of {SHORTEST_KEY} bytes or more, found {len(secret)}", where=where,
            remedy="A short key can be guessed, and then who is in a group: openssl rand -hex 32 makes one.",
        )
    return hashlib.blake2b(secret).digest()
