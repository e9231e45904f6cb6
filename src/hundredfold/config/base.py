"""What every verb's settings share, and how they become a Python signature.

A setting is written once, as a field of a frozen pydantic model with a description. From it
come the command-line option, the YAML key, the keyword of the Python function and the table in
the documentation.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Self, TypeAlias, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticUndefined

from hundredfold.errors import SettingsError
from hundredfold.url import Url, place

__all__ = [
    "FarPlace", "OptionalPlace", "Place", "ResumableSettings", "Settings", "Verb", "check_unchanged", "verb",
]

#: Types of settings that are paths of this machine.
HERE = (Path, Path | None)
R = TypeVar("R")
S = TypeVar("S", bound="Settings")


def _checked(given: object) -> object:
    return given if given is None else place(given)


def _far(given: object) -> object:
    found = _checked(given)
    if isinstance(found, Path):
        raise ValueError("expected a URL (s3://, gs://, az://)")
    return found


#: A path of this machine, or a URL.
Place: TypeAlias = Annotated[Path | Url, BeforeValidator(_checked)]
OptionalPlace: TypeAlias = Annotated[Path | Url | None, BeforeValidator(_checked)]
FarPlace: TypeAlias = Annotated[Url | None, BeforeValidator(_far)]
OUT_REMEDY = (
    "A run needs locks and memory-mapped files: choose a folder of this machine, and copy it afterwards "
    "(`aws s3 cp --recursive`, `gcloud storage cp -r`, `az storage blob upload-batch`)."
)


class Settings(BaseModel):
    """The frozen, validated settings of one verb.

    A subclass may name ``presets``: values that stand in for the defaults when ``preset`` is set.

    Raises:
        SettingsError: a value is out of range, a name is unknown, or a required one is missing.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False
    )

    #: preset name → field name → value; the empty preset is the fields' own defaults.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    #: fields that may be given by position, in order.
    positional: ClassVar[tuple[str, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _keep_here(cls, given: Any) -> Any:
        """Refuse URLs where only a path of this machine will do, and keys in any URL: settings are kept."""
        for name, value in given.items() if isinstance(given, dict) else ():
            kind = cls.model_fields[name].annotation if name in cls.model_fields else None
            is_url = isinstance(value, str | Path) and isinstance(place(value), Url)
            if kind in HERE and is_url:
                raise SettingsError(
                    f"expected a path of this machine, found a URL ({place(value)})", where=name,
                    remedy=OUT_REMEDY if name == "out" else "Copy it to this machine first.",
                )
        return given

    @model_validator(mode="before")
    @classmethod
    def _fill_in_the_preset(cls, given: Any) -> Any:
        if not cls.presets or not isinstance(given, dict):
            return given
        name = given.get("preset", cls.model_fields["preset"].default)
        if not isinstance(name, str) or name not in cls.presets:
            return given  # the field's own validation names the choices
        return {**cls.presets[name], **given}

    @classmethod
    def of(cls, **given: Any) -> Self:
        """Build the settings, with our own error in place of pydantic's.

        Examples:
            >>> Settings.of(colour="red")
            Traceback (most recent call last):
                ...
            hundredfold.errors.SettingsError: no such setting (colour). Known: none.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            raise _settings_error(cls, error) from None

    def part(self, other: type[S], **changes: Any) -> S:
        """The settings of another verb, taken from these where the names agree."""
        shared = {name: getattr(self, name) for name in other.model_fields if hasattr(self, name)}
        return other.of(**{**shared, **changes})

    @classmethod
    def parameters(cls) -> list[inspect.Parameter]:
        """The fields as parameters of a function: positional ones first, the others by keyword."""
        names = [*cls.positional, *(n for n in cls.model_fields if n not in cls.positional)]
        return [_parameter(cls, name) for name in names]


class ResumableSettings(Settings):
    """Settings of a verb that writes a run directory."""

    out: Path = Field(description="The run directory to write.")
    seed: int = Field(0, ge=0, description="Every random choice is a function of this number.")
    resume: bool = Field(False, description="Continue what an interrupted call left in OUT.")


class Verb(Generic[S, R]):
    """A workflow that takes its settings as an object or as keywords."""

    def __init__(self, settings: type[S], function: Callable[[S], R]) -> None:
        self.settings = settings
        self.function = function
        wraps(function)(self)
        self.__signature__ = inspect.Signature(settings.parameters())

    def __call__(self, *args: Any, **given: Any) -> R:
        """Run the workflow; accepts one settings object, or the settings by name."""
        if len(args) == 1 and isinstance(args[0], self.settings) and not given:
            return self.function(args[0])
        named = dict(zip(self.settings.positional, args, strict=False))
        if len(args) > len(self.settings.positional) or named.keys() & given.keys():
            raise SettingsError(
                f"{len(args)} settings given by position",
                remedy=f"By position: {', '.join(self.settings.positional) or 'none'}.",
            )
        return self.function(self.settings.of(**named, **given))


def verb(settings: type[S]) -> Callable[[Callable[[S], R]], Verb[S, R]]:
    """Declare a workflow: a function of one settings object, callable by keywords too.

    Examples:
        >>> class Greeting(Settings):
        ...     name: str = Field("you", description="Whom to greet.")
        >>> @verb(Greeting)
        ... def greet(settings: Greeting) -> str:
        ...     return f"Hello {settings.name}"
        >>> greet(name="there"), greet(Greeting())
        ('Hello there', 'Hello you')
    """
    return lambda function: Verb(settings, function)


def check_unchanged(begun: str, noted: Mapping[str, Any], asked: Mapping[str, Any], *, where: Path) -> None:
    """Make sure that a run is continued with the settings it was begun with.

    Args:
        begun: what was begun or done with them, as the start of a sentence.
        noted: the settings of the run; one that is missing counts as ``None``.
        asked: those of now.
        where: the run.

    Raises:
        SettingsError: some differ; the message names all of them.
    """
    other = [
        f"{name} = {noted.get(name)}, found {now}" for name, now in asked.items() if noted.get(name) != now
    ]
    if other:
        raise SettingsError(
            f"{begun} with {'; '.join(other)}", where=where,
            remedy="Resume with the settings in config.yaml, or choose another --out.",
        )


def _parameter(settings: type[Settings], name: str) -> inspect.Parameter:
    field = settings.model_fields[name]
    default = field.get_default(call_default_factory=True, validated_data={})
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Parameter(
        name,
        kind if name in settings.positional else inspect.Parameter.KEYWORD_ONLY,
        default=inspect.Parameter.empty if default is PydanticUndefined else default,
        annotation=Annotated[cast(Any, field.annotation), field.description],
    )


def _settings_error(settings: type[Settings], error: ValidationError) -> SettingsError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"]) or settings.__name__
    if first["type"] == "extra_forbidden":
        near = get_close_matches(name, settings.model_fields, n=1)
        known = ", ".join(settings.model_fields) or "none"
        hint = f"Did you mean {near[0]}?" if near else f"Known: {known}."
        return SettingsError("no such setting", where=name, remedy=hint)
    if first["type"] == "missing":
        return SettingsError("a setting is missing", where=name, remedy=f"Give {name}.")
    message = first["msg"].removeprefix("Value error, ").rstrip(".").replace("Input should be", "expected", 1)
    found = f"{message}; found {first['input']!r}" if first["loc"] else message
    return SettingsError(found, where=name, remedy="See the settings in docs/settings.md.")
