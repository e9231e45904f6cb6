"""Write the pages that follow from the code, docs/settings.md and docs/modalities.md: ``make docs``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from hundredfold.cli import VERBS, load_verb
from hundredfold.config import Settings
from hundredfold.files import write_text
from hundredfold.views.modalities import MODALITIES, Modality

SETTINGS_HEAD = """# Settings

*Written by `make docs` from `src/hundredfold/config/`; do not edit it by hand.*

Every setting has one name: `--max-bad 0.05` on the command line is `max_bad: 0.05` in a YAML file for
`--config` and `max_bad=0.05` in Python. Lists are given with commas (`--budgets 1,5,10`), switches
without a value (`--resume`, and `--no-resume` to contradict a file). Options win over the file, and the
file over the defaults. A run's own `config.yaml` may be given to `--config`: it repeats that run.

"Paper" is what `--preset paper` sets instead of the default: the values of Nielsen et al. 2023.
"""


MODALITIES_HEAD = """# Modalities

*Written by `make docs` from `src/hundredfold/views/modalities.py`; do not edit it by hand.*

Pre-training shows the encoder changed views of each image and asks it to see the same in all of them. A
view may only change what does not change the diagnosis; `--modality NAME` says what that is. Look at the
views of your own images in the report before you trust them.

Flips are probabilities; the rotation goes to either side; brightness, contrast and saturation are factors
from 1 − x to 1 + x; hue is in turns; blur and solarise are probabilities, of the first global, the second global and
the local crops; stretch is the greatest width by height, or height by width. Another package adds a modality by the
entry point `hundredfold.modality`.

| modality | flip left–right | flip up–down | rotation | perspective | brightness, contrast | saturation, hue | greyscale | blur | stretch | solarise |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def settings_page() -> str:
    """The page of all settings."""
    return "\n".join([SETTINGS_HEAD, *(line for verb in VERBS for line in _section(verb))])


def modalities_page() -> str:
    """The page of all modalities."""
    rows = "".join(_modality(modality) for modality in MODALITIES.values())
    reasons = "".join(f"- **{modality.name}**: {modality.reason} {modality.left_out}\n" for modality in MODALITIES.values())
    return f"{MODALITIES_HEAD}{rows}\n## Why\n\n{reasons}"


def _modality(modality: Modality) -> str:
    cells = [
        modality.name, f"{modality.flip_horizontal:g}", f"{modality.flip_vertical:g}", f"±{modality.rotation:g}°",
        f"{modality.perspective:g}", f"{modality.brightness:g}, {modality.contrast:g}",
        f"{modality.saturation:g}, {modality.hue:g}", f"{modality.greyscale_p:g}",
        _by_view(modality.blur_p), f"{modality.aspect:.2f}", _by_view(modality.solarise_p),
    ]
    return f"| {' | '.join(cells)} |\n"


def _by_view(shares: tuple[float, float, float]) -> str:
    return " / ".join(f"{share:g}" for share in shares) if any(shares) else "0"


def _section(verb: str) -> Iterator[str]:
    settings = load_verb(verb).settings
    places = " ".join(name.upper() for name in settings.positional)
    needed = [n for n, f in settings.model_fields.items() if f.is_required() and n not in settings.positional]
    given = " ".join(f"--{name.replace('_', '-')} {name.upper()}" for name in needed)
    command = " ".join(part for part in ("hundredfold", verb, places, given) if part)
    paper = settings.presets.get("paper", {})
    yield from (f"## {verb}", "", VERBS[verb], "", f"    {command} [settings]", "")
    yield f"| setting | values | default |{' paper |' if paper else ''} what it does |"
    yield f"|---|---|---|{'---|' if paper else ''}---|"
    for parameter in settings.parameters():
        yield _row(settings, parameter.name, paper)
    yield ""


def _row(settings: type[Settings], name: str, paper: Any) -> str:
    field = settings.model_fields[name]
    text, default = _help_and_default(field)
    cells = [f"`{name}`", _kind(field.annotation), default]
    if paper:
        cells.append(_value(paper[name]) if name in paper else "")
    return f"| {' | '.join([*cells, text.replace('|', chr(92) + '|')])} |"


def _help_and_default(field: FieldInfo) -> tuple[str, str]:
    """The sentence without its ``[default: …]``, and the default."""
    text = field.description or ""
    before, found, rest = text.partition(" [default: ")
    if found:
        return before + rest.partition("]")[2], rest.partition("]")[0]
    return text, "*required*" if field.default is PydanticUndefined else _value(field.default)


def _kind(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return f"{_kind(get_args(kind)[0])}s"
    options = [option for option in get_args(kind) if option is not type(None)]
    if options:
        return _kind(options[0])
    names = {"int": "whole number", "float": "number", "str": "text", "bool": "switch", "Path": "path", "Url": "URL"}
    return names[kind.__name__]


def _value(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(_value(part) for part in value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


#: file → what writes it.
PAGES = {"settings.md": settings_page, "modalities.md": modalities_page}

if __name__ == "__main__":
    for name, page in PAGES.items():
        write_text(Path(__file__).with_name(name), page())
        print(f"docs/{name}")
