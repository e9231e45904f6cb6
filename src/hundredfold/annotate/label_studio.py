"""Label Studio's JSON exports (JSON and JSON-MIN) → who gave which image what class.

Source: labelstud.io/guide/task_format and /guide/export. Read are answers of ``<Choices>``, one choice an
image.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hundredfold.data.rows import existing
from hundredfold.data.table import ImageTable
from hundredfold.errors import LabelConflictError, TableError

__all__ = ["read_label_studio"]

#: Label Studio puts this before the name of an uploaded file.
UPLOADED = re.compile(r"^[0-9a-f]{8}-")
EXPECTED = "a list of tasks with annotations of one choice each, Label Studio's JSON or JSON-MIN"


def read_label_studio(path: Path, images: ImageTable) -> tuple[dict[str, dict[str, str]], tuple[str, ...]]:
    """Reader → (image → class), and the names of images that are not here.

    An image is found by its path, or by the end of it where that is one image's alone. Cancelled annotations,
    predictions and tasks without an answer are passed over.

    Raises:
        InputError: no such file.
        TableError: it is no such export, no task names an image, or an image has several choices.
        LabelConflictError: one reader gave an image two classes.
    """
    tasks = _tasks(existing(path, "a JSON export of Label Studio"))
    ends = _ends(images)
    reads: defaultdict[str, dict[str, str]] = defaultdict(dict)
    unmatched: list[str] = []
    for number, task in enumerate(tasks, 1):
        place, choices = _told(task, where := f"{path}, task {number}")
        if (image := _found(place, ends)) is None:
            unmatched.append(place.rpartition("/")[2])
            continue
        for reader, label in choices:
            if reads[reader].setdefault(image, label) != label:
                raise LabelConflictError(
                    f"one reader calls an image {reads[reader][image]!r} and {label!r}",
                    where=where, remedy="Keep the right annotation of each reader.",
                )
    if len(unmatched) == len(tasks):
        raise TableError(
            f"none of the {len(tasks):,} tasks names an image of the run: the first names {unmatched[0]!r}",
            where=path, remedy="Give the run of the same images; names of files must be as they were.",
        )
    if not reads:
        raise TableError(
            f"none of the {len(tasks):,} tasks holds an answer", where=path,
            remedy="Export it as JSON (JSON-MIN holds answers only if its <Choices> is named 'choice').",
        )
    return dict(reads), tuple(unmatched)


def _told(task: Mapping[str, Any], where: str) -> tuple[str, list[tuple[str, str]]]:
    """The path of the image that a task names, and (reader, class) of each of its annotations."""
    try:
        return _place(task, where), [*_choices(task, where)]
    except (AttributeError, TypeError):
        raise TableError(f"expected {EXPECTED}", where=where, remedy="Export it again, as JSON.") from None


def _tasks(path: Path) -> list[Mapping[str, Any]]:
    try:
        tasks = json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise TableError(f"expected JSON: {error}", where=path, remedy="Export it again.") from None
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
        raise TableError(f"expected {EXPECTED}", where=path, remedy="Export it again, as JSON.")
    return tasks


def _place(task: Mapping[str, Any], where: str) -> str:
    """The path of the image that a task names."""
    data = task.get("data", task)
    named = [data.get("image"), *(data.values() if data is not task else ())]
    text = next((text for text in named if isinstance(text, str) and text), None)
    if text is None:
        raise TableError("the task names no image", where=where, remedy=f"Expected is {EXPECTED}.")
    parts = urlsplit(text.replace("#", "%23"))  # in the name of a file, and no part of a page
    local = parse_qs(parts.query).get("d")  # /data/local-files/?d=folder/image.png
    return unquote(local[0] if local else parts.path or text).replace("\\", "/").strip("/")


def _ends(images: ImageTable) -> dict[str, str | None]:
    """End of a path → the one image whose path ends so; ``None`` where there are several."""
    ends: dict[str, str | None] = {}
    for image in images.ids:
        parts = str(image).split("/")
        for start in range(1, len(parts)):
            end = "/".join(parts[start:])
            ends[end] = None if end in ends else str(image)
    return ends | {str(image): str(image) for image in images.ids}


def _found(place: str, ends: Mapping[str, str | None]) -> str | None:
    parts = place.split("/")
    for start in range(len(parts)):
        end = "/".join(parts[start:])
        if end in ends:
            return ends[end]
    return ends.get(UPLOADED.sub("", parts[-1]))


def _choices(task: Mapping[str, Any], where: str) -> Iterator[tuple[str, str]]:
    """(reader, class) of each annotation of a task."""
    if "annotations" not in task and (choice := task.get("choice")):  # JSON-MIN
        if not isinstance(choice, str):
            raise _several(choice, where)
        yield _reader(task.get("annotator")), choice.strip()
        return
    for annotation in task.get("annotations") or ():
        if annotation.get("was_cancelled"):
            continue
        given = [
            choice for result in annotation.get("result") or ()
            for choice in result.get("value", {}).get("choices", ())
        ]
        if len(given) > 1:
            raise _several(given, where)
        if given:
            yield _reader(annotation.get("completed_by")), str(given[0]).strip()


def _several(given: Any, where: str) -> TableError:
    count = len(given.get("choices", ())) if isinstance(given, dict) else len(given)
    return TableError(
        f"expected one choice an image, found {count}", where=where,
        remedy="One image has one label here; export a project with a single choice.",
    )


def _reader(told: Any) -> str:
    """A name for who annotated: the number that Label Studio knows them by, never their address."""
    number = told.get("id") if isinstance(told, dict) else told
    return "Label Studio" if number is None else f"Label Studio {number}"
