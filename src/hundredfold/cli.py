"""The command line: verbs → workflows, and errors as one line with an exit code.

The options of a verb are the fields of its settings; nothing is declared twice. A workflow is
imported when its verb is asked for, so that ``hundredfold --help`` answers at once.
"""

from __future__ import annotations

import csv
import errno
import inspect
import io
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args, get_origin

from cyclopts import App, CycloptsError, Group, MissingArgumentError, Parameter, UnusedCliTokensError

from hundredfold.errors import HundredfoldError, InputError, SettingsError
from hundredfold.progress import say, wipe
from hundredfold.ranks import is_first, ranks
from hundredfold.url import Url

if TYPE_CHECKING:
    from hundredfold.config import Settings, Verb

__all__ = ["VERBS", "load_verb", "main"]

#: verb → what it does; the first sentence of the workflow's docstring says the same.
VERBS = {
    "demo": "Run the whole chain on a synthetic blood smear.",
    "run": "Go from a folder of images and a table of labels to a report and a predictor.",
    "scan": "Find the images, read the labels, decode every image once, and draw the split.",
    "pretrain": "Pre-train a backbone with DINO on unlabelled images; test and audit images are left out.",
    "embed": "Turn every image into a vector.",
    "curve": "Fit the classifiers to 1 … 1000 labels a class and judge them on the fixed test images.",
    "suggest": "Choose the images to label next, with a reason each.",
    "compare": "Set the learning curves of several runs beside each other.",
    "annotate": "Label the images of a run on a page in the browser.",
    "fit": "Fit a classifier to all labels that are not held out, and write it with its encoder.",
    "predict": "Label the images of a folder or table.",
    "evaluate": "Judge a predictor on labelled images that it has nothing from: external validation.",
    "check": "Compare a batch of new images with those that a predictor learned from.",
    "export": "Write a predictor or an encoder as an ONNX file, or its encoder as a timm folder.",
    "serve": "Answer over HTTP what images are, until it is told to end.",
    "reproduce": "Run the paper's experiment on a published data set, beside the published figures.",
    "report": "Write RUN/report.html and RUN/figures; an earlier report is replaced.",
}

INTERRUPTED = 130
#: After this long the first rank has not found the fault that another one did.
GRACE_SECONDS = 10.0
SPACE = "Make room, then continue with the same command and --resume."
PLACE = "Choose a place where you may write, or read."
#: what the machine refuses, not the program, and what to do about it
MACHINE = {
    errno.ENOSPC: SPACE, errno.EDQUOT: SPACE, errno.EACCES: PLACE, errno.EPERM: PLACE, errno.EROFS: PLACE,
    errno.EIO: "The device is failing: continue on another with a copy of the run and --resume.",
}
FILE = Annotated[
    Path | None,
    Parameter(help="YAML file with settings, such as a run's config.yaml; options win over it."),
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    0 done, 1 a fault of ours, 2 what the user can mend (input, settings, a full disk), 130 interrupted.

    Examples:
        >>> main(["scan", "--help"])  # doctest: +ELLIPSIS
        Usage: hundredfold scan ...
        0
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _check_shared(given)
        with _warnings_in_words():
            _application(given)(given or ["--help"])
    except HundredfoldError as error:
        if isinstance(error, InputError):
            _leave_it_to_the_first()
        return _complain(str(error), error.exit_code)
    except CycloptsError as error:
        _leave_it_to_the_first()
        verb = f" {given[0]}" if given[0] in VERBS else ""
        return _complain(f"{_sentence(error)} See `hundredfold{verb} --help`.", 2)
    except KeyboardInterrupt:
        say("hundredfold: Interrupted. Continue with the same command and --resume.")
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last stop: whatever it is, the user gets a sentence
        if isinstance(error, OSError) and error.errno in MACHINE:
            where = error.filename or "while writing"
            return _complain(f"{error.strerror} ({where}). {MACHINE[error.errno]}", 2)
        traceback.print_exc()
        return _complain(f"a fault of ours: {error!r}. Please report it with the lines above.", 1)
    return 0


@contextmanager
def _warnings_in_words() -> Iterator[None]:
    """Our own warnings as sentences, without the line of code that gave them; others as Python does."""
    usual, ours = warnings.formatwarning, Path(__file__).parent

    def in_words(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if category is UserWarning and Path(filename).is_relative_to(ours):
            return f"{wipe(sys.stderr)}Warning: {message}.\n"
        return wipe(sys.stderr) + usual(message, category, filename, lineno, line)

    warnings.formatwarning = in_words
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _leave_it_to_the_first() -> None:
    """Wait on another rank than the first, which finds the same fault: as it ends, torchrun ends this one."""
    if not is_first():
        time.sleep(GRACE_SECONDS)


def _check_shared(given: Sequence[str]) -> None:
    """Refuse what several processes would do several times over."""
    if ranks() > 1 and given[:1] != ["pretrain"]:
        raise SettingsError(
            f"torchrun started {ranks()} processes, and only pretrain shares its work among them",
            where=" ".join(given[:1]) or None,
            remedy="First `torchrun … -m hundredfold pretrain IMAGES --labels CSV --out RUN`, then without "
            "torchrun `hundredfold run IMAGES --labels CSV --out RUN --resume`, which goes on from there.",
        )


def load_verb(name: str) -> Verb[Any, Any]:
    """The workflow behind a verb.

    Examples:
        >>> load_verb("scan").settings.__name__
        'ScanSettings'
    """
    return cast("Verb[Any, Any]", getattr(import_module(f"hundredfold.workflows.{name}"), name))


def _application(given: Sequence[str]) -> App:
    app = App(
        name="hundredfold",
        help="Learn from unlabelled medical images, label about a hundred a class, know how good it is.",
        help_format="plaintext",
        version=_version,
        result_action="return_value",
        exit_on_error=False,
        print_error=False,
        suppress_keyboard_interrupt=False,
    )
    with_file = any(token.partition("=")[0] == "--config" for token in given)
    for place, (name, sentence) in enumerate(VERBS.items()):
        command = App(name=name, help=sentence, sort_key=place)
        if name in given[:1]:
            command.default(_command(load_verb(name), with_file=with_file))
        app.command(command)
    return app


def _version() -> str:
    from importlib.metadata import version

    return version("hundredfold")


def _command(verb: Verb[Any, Any], *, with_file: bool) -> Callable[..., None]:
    """The verb as a function whose signature is its settings and ``--config``."""

    def command(*values: Any, **given: Any) -> None:
        file = given.pop("config", None)
        named = dict(zip(verb.settings.positional, values, strict=False)) | given
        named = {
            name: _split(value) if name in lists and isinstance(value, str) else value
            for name, value in named.items()
        }
        verb(**(_from_file(file, verb) if file else {}) | named)

    known = verb.settings.parameters()
    lists = {parameter.name for parameter in known if get_origin(get_args(parameter.annotation)[0]) is tuple}
    parameters = [_option(verb.settings, parameter, required=not with_file) for parameter in known]
    file = inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=FILE)
    vars(command)["__signature__"] = inspect.Signature([*parameters, file])
    return command


def _option(settings: type[Settings], parameter: inspect.Parameter, *, required: bool) -> inspect.Parameter:
    """A setting as an option: with its help, lists as ``1,5,10``, and optional where a file may give it."""
    kind, text = get_args(parameter.annotation)
    shown: dict[str, Any] = {"help": text, "show_default": _shown(parameter.default)}
    if parameter.default is None or parameter.default is False or "default:" in text:
        shown["show_default"] = False
    if get_origin(kind) is tuple and parameter.name in settings.positional:
        shown["consume_multiple"] = True  # one after the other: RUN RUN …
    elif get_origin(kind) is tuple:
        shown["metavar"] = f"{get_args(kind)[0].__name__.upper()},…"
        kind = str
    if Url in get_args(kind):
        kind, shown["metavar"] = str, "PATH"  # which of the two it is, the settings say
    if group := _group(settings, parameter.name):
        shown["group"] = group
    if parameter.default is not inspect.Parameter.empty or not required:
        # what was not typed stays unsaid: a file, a preset or the field's own default speaks then
        kind, parameter = kind | None, parameter.replace(default=None)
    return parameter.replace(annotation=Annotated[kind, Parameter(**shown)])


def _group(settings: type[Settings], name: str) -> Group | None:
    """The heading of a setting that several verbs share: the first sentence of the class that has it."""
    for place, owner in enumerate(settings.__mro__):
        if name in vars(owner).get("__annotations__", {}) and owner.__name__.endswith("Choices"):
            return Group((owner.__doc__ or "").split(".")[0].split(" (")[0], sort_key=-place)
    return None


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_shown(part) for part in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _split(value: str) -> tuple[str, ...]:
    """The values between the commas; the settings check each of them.

    One that holds a comma stands in double quotes, as in a CSV.

    Examples:
        >>> _split('nevus=0.9, "melanoma, in situ"=0.02')
        ('nevus=0.9', 'melanoma, in situ=0.02')
    """
    rows = csv.reader(io.StringIO(value, newline=""), skipinitialspace=True)
    return tuple(part.strip() for row in rows for part in row if part.strip())


def _from_file(path: Path, verb: Verb[Any, Any]) -> dict[str, Any]:
    """Settings from a YAML file: flat, or a run's ``config.yaml`` with a section for each verb."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise SettingsError("no such file", where=path, remedy="Check the path after --config.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())
        raise SettingsError(f"expected YAML: {what}", where=path, remedy="Mend the file.") from None
    if not isinstance(found, dict):
        raise SettingsError(
            f"expected names and values, found {type(found).__name__}", where=path,
            remedy="Write one `name: value` a line.",
        )
    sections = {name: part for name, part in found.items() if name in VERBS and isinstance(part, dict)}
    if not sections:
        return {str(name).replace("-", "_"): value for name, value in found.items()}
    return _from_sections(sections, verb)


def _from_sections(sections: dict[str, dict[str, Any]], verb: Verb[Any, Any]) -> dict[str, Any]:
    """The verb's own section; ``run``, which calls the others, takes the first that has a setting."""
    name = vars(verb)["__name__"]
    merged: dict[str, Any] = {}
    for section in [sections[name]] if name in sections else sections.values():
        # What one verb leaves open another may not.
        merged = {**{key: value for key, value in section.items() if value is not None}, **merged}
    known = verb.settings.model_fields.keys() - {"resume"}
    return {key: value for key, value in merged.items() if key in known}


def _sentence(error: CycloptsError) -> str:
    """What is wrong with the line that was typed."""
    argument = getattr(error, "argument", None)
    if isinstance(error, MissingArgumentError) and argument is not None and not argument.tokens:
        return f"{argument.name} is missing." + str(error).partition("argument.")[2]
    if isinstance(error, UnusedCliTokensError):
        return f"more was given than the verb takes: {' '.join(error.unused_tokens or [])}."
    return str(error)


def _complain(sentence: str, code: int) -> int:
    say(f"hundredfold: {' '.join(sentence.split())}", every_rank=True)
    return code
