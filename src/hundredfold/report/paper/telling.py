"""What the paragraphs of a text are made from: the run, its numbers with their places, and cited works."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hundredfold.files import write_json
from hundredfold.report.material import Material
from hundredfold.report.paper.trace import FACTS, Place, Take, Trace, count, plain
from hundredfold.report.tables import Headline
from hundredfold.report.words import shown

__all__ = ["Telling", "and_", "begin", "pointer"]

SETTINGS = "config.yaml"


@dataclass(frozen=True)
class Telling:
    """A run, the point that is spoken of, and what remembers numbers and works.

    Attributes:
        material: what the run holds.
        at: the point of the learning curves; ``None`` without a curve.
        trace: numbers go through it.
        cite: gives the works their numbers.
        fresh: files below ``figures/`` that were written together with this text.
    """

    material: Material
    at: Headline | None
    trace: Trace
    cite: Callable[..., str]
    fresh: frozenset[str] = field(default_factory=frozenset)

    @property
    def scan(self) -> Mapping[str, Any]:
        """What ``scan`` noted."""
        return dict(self.material.state.get("scan") or {})

    @property
    def outer(self) -> bool:
        """Whether several test splits took turns."""
        return bool(self.material.evaluation.get("outer_splits"))

    @property
    def alone(self) -> bool:
        """Whether there is a predictor and no run."""
        return not self.material.state

    @property
    def predictor(self) -> str:
        """The file of the predictor's facts."""
        inside = "predictor/predictor.json"
        return inside if (self.trace.folder / inside).is_file() else "predictor.json"

    def setting(self, verb: str, name: str) -> Any:
        """A setting as it was given; ``None`` where that is not known."""
        return self.material.settings.get(verb, {}).get(name)

    def fact(
        self, meaning: str, *path: object, take: Take = "value", write: Callable[[Any], str] = count
    ) -> str:
        """A number that ``run.json`` holds."""
        return self.trace.number(meaning, Place(FACTS, pointer(*path), take), write)

    def set(self, meaning: str, verb: str, *path: object, write: Callable[[Any], str] = plain) -> str:
        """A number that was set."""
        return self.trace.number(meaning, Place(SETTINGS, pointer(verb, *path)), write)

    def counted(self, meaning: str, counts: Mapping[str, Any], *path: object) -> str:
        """Names with their numbers, as ``a 3, b 4``."""
        return ", ".join(
            f"{shown(name)} {self.fact(f'{meaning}, {shown(name)}', *path, name)}" for name in counts
        )


def begin(folder: Path, state: Mapping[str, Any]) -> Trace:
    """Write down what ``run.json`` says now, for the texts to point to."""
    stages = {name: facts for name, facts in state.get("stages", {}).items() if name != "report"}
    facts = {**state, "stages": stages}
    if not (folder / FACTS).is_file() or json.loads((folder / FACTS).read_text(encoding="utf-8")) != facts:
        write_json(folder / FACTS, facts)
    return Trace(folder)


def pointer(*path: object) -> str:
    """A JSON pointer (RFC 6901).

    Examples:
        >>> pointer("curve", "test_images", "a/b")
        '/curve/test_images/a~1b'
    """
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def and_(words: Sequence[str]) -> str:
    """Words in a sentence.

    Examples:
        >>> and_(["a"]), and_(["a", "b", "c"])
        ('a', 'a, b and c')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
