"""What the header of a DICOM file says of its frames and, hashed, of whom it is.

It is read where images are decoded (:mod:`hundredfold.data.nursery`): names and numbers of patients never
leave that process, and are written nowhere.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset

from hundredfold.data.dicom import DEFLATED, MAX_FRAMES, check_inflated
from hundredfold.data.file import content, looks_like_dicom

__all__ = ["group_of", "header"]

IDS = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID")
TAGS = ("NumberOfFrames", "PatientName", *IDS)
OPTIONS: Mapping[str, Any] = {"stop_before_pixels": True, "specific_tags": list(TAGS), "force": True}
#: Letters or digits that a file's name must share with the patient's to be told of.
TELLING = 4


def header(
    path: str, *, name: str, group_by: str, key: str, part: Sequence[Any] | None = None,
    known: str | None = None, once: bool = False,
) -> tuple[dict[str, Any], None]:
    """What a DICOM file says before its pixels.

    Args:
        path: of the file, or of the one that it is a part of.
        name: what of its path is kept by a run.
        group_by: ``patient``, ``study`` or ``none``.
        key: what the numbers of patients and studies are hashed with, as hexadecimal digits.
        part: which part of the file; this and the rest as for :func:`~hundredfold.data.file.content`.
        known: fingerprint of the file at ``path``; whoever reads the pixels checks it.
        once: whether it is deleted.

    Returns:
        ``frames``; ``group``, which may be ``None``; ``number``, the group that it would be without the
        patient's issuer; ``named``, whether ``name`` holds the patient's name or number. A damaged file has
        one frame and no group: its decoder will say what is wrong with it.
    """
    try:
        whole = part is None and not once
        found = _read(path) if whole else _parsed(content(path, known=known, part=part, once=once))
        frames = max(1, int(found.get("NumberOfFrames") or 1))
        patient, issuer, study = (_text(found, tag) for tag in IDS)
        by: dict[str, Any] = {"group_by": group_by, "key": bytes.fromhex(key)}
        facts = {
            "frames": frames if frames <= MAX_FRAMES else 1,
            "group": group_of(patient, issuer, study, **by), "number": group_of(patient, "", study, **by),
            "named": _names(found, name),
        }
    except Exception:  # noqa: BLE001 - bytes from anywhere make pydicom raise anything
        facts = {"frames": 1, "group": None, "number": None, "named": False}
    return facts, None


def group_of(patient: str, issuer: str, study: str, *, group_by: str, key: bytes) -> str | None:
    """The name of a group that tells no one who is in it; a patient without a number is one of a study.

    BLAKE2b with a key (RFC 7693): who does not have the key cannot try numbers until one fits.

    Examples:
        >>> who = {"group_by": "patient", "key": bytes(32)}
        >>> group_of("4711", "", "1.2.3", **who)
        'patient-...'
        >>> group_of("4711", "", "1.2.4", **who) == group_of("4711", "", "1.2.3", **who)
        True
        >>> group_of("", "", "", **who) is None
        True
    """
    if group_by == "patient" and patient:
        kind, number = "patient", f"{issuer}\0{patient}"
    elif group_by != "none" and study:
        kind, number = "study", study
    else:
        return None
    data = f"{kind}\0{number}".encode()
    return f"{kind}-{hashlib.blake2b(data, digest_size=10, key=key, person=b'hundredfold').hexdigest()}"


def _read(path: str) -> Dataset:
    with Path(path).open("rb") as file:
        deflated = DEFLATED in file.read(2048)
    return _parsed(content(path)) if deflated else dcmread(path, **OPTIONS)


def _parsed(data: bytes) -> Dataset:
    if not looks_like_dicom(data):
        return Dataset()
    if DEFLATED in data[:2048]:
        check_inflated(data)
    return dcmread(io.BytesIO(data), **OPTIONS)


def _text(found: Dataset, keyword: str) -> str:
    return str(found.get(keyword) or "").strip()


def _names(found: Dataset, name: str) -> bool:
    """Whether a name of a file holds a part of the patient's name, or the number; "anonymous" is neither."""
    plain = name.casefold()
    parts = re.findall(r"\w+", f"{_text(found, 'PatientName')} {_text(found, 'PatientID')}".casefold())
    return any(len(part) >= TELLING and part in plain and not part.startswith("anon") for part in parts)
