"""Weights from a file into a backbone: safetensors or weights-only torch files, whatever the keys' prefix."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from hundredfold.errors import ModelFileError, WeightsError

__all__ = ["KeyMatch", "find_weights_file", "lacking", "match_keys", "read_weights"]

State = dict[str, Tensor]


@dataclass(frozen=True)
class KeyMatch:
    """Which tensors of a file belong to a backbone.

    Args:
        state: the backbone's own key → tensor.
        prefix: what stood before the keys in the file (``backbone.``, ``teacher.module.`` …).
        missing: keys of the backbone that the file lacks.
        misfits: keys that are there with another shape, as "key: file's shape, backbone's shape".
        unexpected: keys of the file that are not the backbone's (heads, optimisers), as in the file.
    """

    state: State
    prefix: str
    missing: tuple[str, ...]
    misfits: tuple[str, ...]
    unexpected: tuple[str, ...]


def find_weights_file(path: Path) -> Path:
    """The weights file that ``path`` means: itself, or the one of an encoder folder or a run.

    Raises:
        WeightsError: there is none; the message names what was looked for.
    """
    candidates = (path, path / "encoder.safetensors", path / "encoder" / "encoder.safetensors")
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise WeightsError(
        "expected a weights file, an encoder folder or a run with one", where=path,
        remedy="Give a .safetensors or torch file, or the --out of an earlier pretrain.",
    )


def read_weights(path: Path) -> tuple[State, dict[str, str]]:
    """All tensors of a file under dotted keys, and its metadata (safetensors only).

    Torch files are read with ``weights_only=True``; dictionaries within dictionaries are
    flattened (``{"state_dict": {"a": t}}`` gives ``state_dict.a``).

    Raises:
        ModelFileError: the file is damaged, holds no tensors, or is a pickle with code in it.
    """
    if path.suffix == ".safetensors" or _looks_like_safetensors(path):
        return _read_safetensors(path)
    try:
        with warnings.catch_warnings():  # that a plain pickle is unusual; it is refused just below
            warnings.simplefilter("ignore", UserWarning)
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelFileError(
            "the file holds more than tensors, which could run code when loaded", where=path,
            remedy="Save its state_dict() with torch.save or safetensors and give that file.",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise _damaged(path, error) from error
    state = dict(_flatten(loaded, ""))
    if not state:
        raise ModelFileError("the file holds no tensors", where=path, remedy="Give a file of weights.")
    return state, {}


def match_keys(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> KeyMatch:
    """Find the prefix under which most of the expected tensors stand, and take those.

    Where several fit equally (a student and a teacher), the teacher is taken, then the shortest
    prefix. BatchNorm's ``num_batches_tracked`` may be missing.

    Examples:
        >>> file = {"backbone.weight": torch.ones(2), "projection_head.bias": torch.ones(3)}
        >>> match = match_keys(file, {"weight": torch.zeros(2)})
        >>> match.prefix, list(match.state), match.unexpected
        ('backbone.', ['weight'], ('projection_head.bias',))
    """
    prefix = _best_prefix(state, expected)
    found = {key: state[prefix + key] for key in expected if prefix + key in state}
    fitting = {key: tensor for key, tensor in found.items() if tensor.shape == expected[key].shape}
    return KeyMatch(
        state=fitting,
        prefix=prefix,
        missing=tuple(k for k in expected if k not in found and not k.endswith("num_batches_tracked")),
        misfits=tuple(
            f"{key}: {tuple(tensor.shape)} in the file, {tuple(expected[key].shape)} in the backbone"
            for key, tensor in found.items() if key not in fitting
        ),
        unexpected=tuple(key for key in state if key.removeprefix(prefix) not in expected),
    )


def lacking(missing: Iterable[str], where: str) -> WeightsError:
    """The error for weights that lack tensors of their model."""
    names = sorted(missing)
    return WeightsError(
        f"the weights lack tensors of the model: {', '.join(names[:3])}{' …' * (len(names) > 3)}",
        where=where, remedy="They would be random numbers. Choose a model with all its weights.",
    )


def _best_prefix(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    votes: Counter[str] = Counter()
    for key, tensor in state.items():
        for suffix in _suffixes(key):
            if suffix in expected and expected[suffix].shape == tensor.shape:
                votes[key.removesuffix(suffix)] += 1
    return max(votes, key=lambda p: (votes[p], "teacher" in p, -len(p)), default="")


def _suffixes(key: str) -> Iterable[str]:
    yield key
    while "." in key:
        key = key.partition(".")[2]
        yield key


def _flatten(value: object, prefix: str) -> Iterable[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield prefix.removesuffix("."), value
    elif isinstance(value, Mapping):
        for key, child in value.items():
            yield from _flatten(child, f"{prefix}{key}.")


def _looks_like_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(9)[8:9] == b"{"


def _read_safetensors(path: Path) -> tuple[State, dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelFileError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return ModelFileError(
        f"the weights file cannot be read: {reason.rstrip('.')}", where=path,
        remedy="It is damaged or of another kind; fetch or write it again.",
    )
