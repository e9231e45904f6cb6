"""Chapter "Record": settings, stages and versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from hundredfold.report.chapters.base import Chapter, Listing
from hundredfold.report.material import Material
from hundredfold.report.words import shown

__all__ = ["record_chapter"]

#: settings that hold paths; the page shows their last part, since a page is passed on.
PATHS = frozenset(
    {
        "images", "labels", "out", "pixels", "embeddings", "predictor", "run", "runs", "encoder", "encoders",
        "weights", "splits", "keep_splits", "group_key", "copy_to",
    }
)
HUBS = ("hf:", "timm:")
NOT_TOLD = frozenset({"resume", "alarms", "schema_version"})


def record_chapter(material: Material) -> Chapter:
    """What was done with which settings, by which software."""
    items = [_stages(material.state)]
    items += [_settings(stage, given) for stage, given in material.settings.items() if given]
    if material.pretraining:
        items.append(_resolved(material.pretraining))
    if material.predictor is not None:
        items.append(_predictor(material.predictor))
    items.append(_versions(material.state))
    sentences = ["Paths are shortened to their last part; config.yaml and run.json hold everything."]
    return Chapter("record", "Settings and versions", sentences, items, flowing=True)


def _stages(state: Mapping[str, Any]) -> Listing:
    stages = {name: facts for name, facts in state.get("stages", {}).items() if name != "report"}
    table = pd.DataFrame(
        [(name, facts.get("status"), facts.get("seconds")) for name, facts in stages.items()],
        columns=["stage", "status", "seconds"],
    )
    rows = [
        [name, str(facts.get("status")), _duration(facts.get("seconds"))] for name, facts in stages.items()
    ]
    return Listing("stages", "What was run", "", ["stage", "status", "time"], rows, table, words=2)


def _settings(stage: str, given: Mapping[str, Any]) -> Listing:
    told = [(name, _told(name, value)) for name, value in given.items() if name not in NOT_TOLD]
    return Listing(
        f"settings_{stage}",
        f"Settings of {stage}",
        "",
        ["setting", "value"],
        [list(row) for row in told],
        pd.DataFrame(told, columns=["setting", "value"]),
        words=2,
    )


def _resolved(facts: Mapping[str, Any]) -> Listing:
    told = [(name, _told(name, value)) for name, value in facts.items() if _is_told(name, value)]
    return Listing(
        "pretraining",
        "What pre-training used",
        "With what was left to the run to choose.",
        ["", ""],
        [list(row) for row in told],
        pd.DataFrame(told, columns=["fact", "value"]),
        words=2,
    )


def _predictor(facts: Mapping[str, Any]) -> Listing:
    plain = [(name, _told(name, value)) for name, value in facts.items() if _is_told(name, value)]
    return Listing(
        "predictor",
        "The predictor",
        "It labels new images: hundredfold predict IMAGES --predictor RUN.",
        ["", ""],
        [list(row) for row in plain],
        pd.DataFrame(plain, columns=["fact", "value"]),
        words=2,
    )


def _versions(state: Mapping[str, Any]) -> Listing:
    found = [(str(name), str(version)) for name, version in state.get("software", {}).items()]
    if "device" in state:
        found.append(("device", str(state["device"])))
    return Listing(
        "versions",
        "Software",
        "",
        ["package", "version"],
        [list(row) for row in found],
        pd.DataFrame(found, columns=["package", "version"]),
        words=2,
    )


def _is_told(name: str, value: object) -> bool:
    return name not in NOT_TOLD and not isinstance(value, Mapping)


def _told(name: str, value: object) -> str:
    if value is None:
        return "–"
    if name in PATHS and isinstance(value, list | tuple):
        return shown(", ".join(_told(name, part) for part in value), 300) or "–"
    if name in PATHS:
        parts = str(value).split("+") if name.startswith("encoder") else [str(value)]
        return shown("+".join(_last(part) for part in parts), 120)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        words = (f"{part:g}" if isinstance(part, float) else str(part) for part in value)
        return shown(", ".join(words), 300) or "–"
    return f"{value:g}" if isinstance(value, float) else shown(value, 300)


def _last(path: str) -> str:
    """The last part of a path; a name in a hub is none."""
    return path if path.startswith(HUBS) else path.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,} min {rest:02d} s" if minutes else f"{rest} s"
