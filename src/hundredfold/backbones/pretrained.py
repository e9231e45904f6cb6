"""Models by name, and the weights that timm and the hub offer for them: from the cache, or downloaded."""

from __future__ import annotations

import difflib
import json
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlparse
from urllib.request import getproxies

import torch
from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from torch import nn

from hundredfold.backbones.hugging_face import load_vision_model
from hundredfold.backbones.quick import timm
from hundredfold.backbones.weights import lacking
from hundredfold.errors import HundredfoldError, SettingsError, WeightsError
from hundredfold.progress import say

__all__ = [
    "ANY_SIZE", "FOLDER_PREFIX", "HUB_CONFIG", "HUB_PREFIX", "build", "check_name", "load_pretrained",
    "readable",
]

HUB_PREFIX, FOLDER_PREFIX = "hf-hub:", "local-dir:"  # timm's
HUB_CONFIG = "config.json"
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
# A vision transformer takes any image size, padded to whole patches, if it is told so when built.
ANY_SIZE: dict[str, Any] = {"dynamic_img_size": True, "dynamic_img_pad": True}

Got = TypeVar("Got")


def build(name: str, *, drop_path: float = 0.0, **options: Any) -> nn.Module:
    """A timm model without classifier that takes images of any size, if its architecture can."""
    options = {**options, "num_classes": 0}
    if drop_path:
        options["drop_path_rate"] = drop_path
    try:
        model: nn.Module = timm.create_model(name, **options, **ANY_SIZE)
    except TypeError:  # not a vision transformer: it knows no such option
        try:
            model = timm.create_model(name, **options)
        except TypeError as error:
            raise SettingsError(
                f"the backbone cannot be built so: {error}", where=name,
                remedy="Set drop_path to 0 or choose another backbone.",
            ) from error
    return model


def check_name(name: str) -> None:
    """Refuse a name that timm does not know.

    Raises:
        SettingsError: with the nearest names.

    Examples:
        >>> check_name("resnet10x")
        Traceback (most recent call last):
            ...
        hundredfold.errors.SettingsError: timm has no model of this name (resnet10x). ...
    """
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3) or ["efficientnet_lite0"]
        raise SettingsError(
            "timm has no model of this name", where=name, remedy=f"Did you mean {' or '.join(near)}?"
        )
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise SettingsError(
            f"timm has no weights tagged {tag!r}", where=name,
            remedy=f"Known tags: {', '.join(tags) or 'none'}.",
        )


def load_pretrained(name: str, *, download: bool, drop_path: float) -> nn.Module:
    """A model with the pretrained weights that timm, the hub or a folder has for it.

    Raises:
        SettingsError: a name that the hub cannot have, or a model exported from an encoder.
        WeightsError: there are none or not all, they are not in the cache and ``download`` is not set,
            or the download failed. Random weights are never taken in their place.
    """
    if name.startswith(HUB_PREFIX):
        return _from_hub(name.removeprefix(HUB_PREFIX), name, download=download, drop_path=drop_path)
    if name.startswith(FOLDER_PREFIX):
        folder = name.removeprefix(FOLDER_PREFIX)
        return _from_folder(Path(folder), folder, drop_path)
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.has_weights:
        raise WeightsError(
            "timm offers no pretrained weights", where=name,
            remedy="Give --weights a file, or `none` to start from random weights.",
        )
    url = config.url if isinstance(config.url, str) else None
    if (cached := _cached(config.hf_hub_id, config.hf_hub_filename, url)) is not None:
        overlay: dict[str, Any] = {"file": str(cached)}
        if cached.suffix != ".npz":
            overlay["custom_load"] = False
        return _complete(name, drop_path, pretrained_cfg_overlay=overlay)
    if not download:
        raise _not_allowed(name, vars(config), build(name))
    _check_network(name)
    return _fetched(name, lambda: _complete(name, drop_path))


def _complete(name: str, drop_path: float, *, where: str | None = None, **options: Any) -> nn.Module:
    """A model with its weights, of which none was missing: timm says of those in its log at most."""
    with _noting_missing() as missing:
        model = build(name, drop_path=drop_path, pretrained=True, **options)
    if missing:
        raise lacking(missing, where or name)
    return model


@contextmanager
def _noting_missing() -> Iterator[list[str]]:
    """The names of what a model that is built within did not find in its weights."""
    missing: list[str] = []
    load = nn.Module.load_state_dict

    def noting(model: nn.Module, *given: Any, **more: Any) -> Any:
        result = load(model, *given, **more)
        missing.extend(result.missing_keys)
        return result

    nn.Module.load_state_dict = noting  # type: ignore[assignment, method-assign]
    try:
        yield missing
    finally:
        nn.Module.load_state_dict = load  # type: ignore[method-assign]


def _from_hub(repository: str, name: str, *, download: bool, drop_path: float) -> nn.Module:
    _check_repository(repository)
    path = _hub_file(repository, HUB_CONFIG)
    if path is None:
        if not download:
            raise _not_here(repository, name)
        _check_network(name)
        path = _fetched(name, lambda: Path(hf_hub_download(repository, HUB_CONFIG)))
    config = _configuration(path)
    if (model_type := _model_type(config)) is not None:
        _check_drop_path(name, drop_path)
        if download:
            return _fetched(name, lambda: load_vision_model(repository, model_type, download=True))
        return _of_transformers(repository, name, model_type)
    if _cached(repository, None, None) is not None:
        return _from_folder(path.parent, name, drop_path)
    if not download:
        raise _not_here(repository, name)
    _check_not_exported(config, name)
    _check_network(name)
    return _fetched(name, lambda: _complete(name, drop_path))


def _check_repository(repository: str) -> None:
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise SettingsError(
            "expected a model of the hub as OWNER/NAME", where=repository or "empty",
            remedy="Copy it from the page of the model.",
        ) from error


def _of_transformers(repository: str, name: str, model_type: str) -> nn.Module:
    """A model that lies in the cache."""
    with readable(name):
        try:
            return load_vision_model(repository, model_type, download=False)
        except OSError as error:
            raise _not_here(repository, name) from error


def _from_folder(folder: Path, where: str, drop_path: float) -> nn.Module:
    """A model from a folder in timm's format or that of transformers."""
    config = _configuration(folder / HUB_CONFIG)
    _check_not_exported(config, where)
    model_type = _model_type(config)
    with readable(where):
        if model_type is None:
            return _complete(f"{FOLDER_PREFIX}{folder}", drop_path, where=where)
        _check_drop_path(where, drop_path)
        return load_vision_model(str(folder), model_type, download=False)


def _check_not_exported(config: Mapping[str, Any], where: str) -> None:
    if "hundredfold" in config:
        raise SettingsError(
            "the model was exported from an encoder, for other programs, and gives the features of one view",
            where=where, remedy="Give the encoder itself.",
        )


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Whatever goes wrong within is the fault of files, which anybody may have written."""
    try:
        yield
    except HundredfoldError:
        raise
    except Exception as error:
        raise WeightsError(
            f"its files hold no model that can be read: {_reason(error)}", where=where,
            remedy="Copy or download them again from where they were made.",
        ) from error


def _configuration(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(
            f"the configuration cannot be read: {_reason(error)}", where=path,
            remedy="Copy the folder again from where it was made.",
        ) from error


def _model_type(config: Mapping[str, Any]) -> str | None:
    """The type that a configuration of transformers names; ``None`` for one of timm."""
    of_timm = "architecture" in config or config.get("model_type") is None
    return None if of_timm else str(config["model_type"])


def _check_drop_path(name: str, drop_path: float) -> None:
    if drop_path:
        raise SettingsError(
            "a model in the format of transformers has no stochastic depth of ours", where=name,
            remedy="Set drop_path to 0 or choose a timm model.",
        )


def _fetched(name: str, fetch: Callable[[], Got]) -> Got:
    say(f"Downloading the weights of {name}")
    try:
        return fetch()
    except HundredfoldError:
        raise
    except Exception as error:  # the hub, its client and the network raise kinds of their own
        raise WeightsError(
            f"the pretrained weights could not be downloaded: {_reason(error)}", where=name,
            remedy="Check the network and the name, or give --weights a file, or `none` for random weights.",
        ) from error


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _not_here(repository: str, name: str) -> WeightsError:
    return WeightsError(
        f"the weights are not on this machine; their source is https://huggingface.co/{repository}",
        where=name, remedy="Allow the download with --download, or give --weights a file.",
    )


def _check_network(name: str) -> None:
    """Find out at once that there is no network; the hub's client tries again for a minute.

    Behind a proxy the names of hosts need not be known here, so nothing is found out there.
    """
    host = urlparse(constants.ENDPOINT).hostname or "huggingface.co"
    try:
        if not getproxies():
            socket.getaddrinfo(host, 443)
    except OSError as error:
        raise WeightsError(
            f"the pretrained weights could not be downloaded: {host} cannot be found", where=name,
            remedy="Check the network, or give --weights a file, or `none` for random weights.",
        ) from error


def _not_allowed(name: str, config: Mapping[str, Any], model: nn.Module) -> WeightsError:
    source = f"https://huggingface.co/{config['hf_hub_id']}" if config.get("hf_hub_id") else config.get("url")
    megabytes = sum(tensor.numel() for tensor in model.state_dict().values()) * 4 / 1e6
    licence = f", licence {config['license']}" if config.get("license") else ""
    return WeightsError(
        f"the pretrained weights are not on this machine; their source is {source}"
        f" (about {megabytes:.0f} MB{licence})", where=name,
        remedy="Allow the download with --download, or give --weights a file, or `none` for random weights.",
    )


def _cached(repository: str | None, filename: str | None, url: str | None) -> Path | None:
    if repository:
        for candidate in (filename,) if filename else HUB_FILES:
            if (found := _hub_file(repository, candidate)) is not None:
                return found
    if url:
        path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
        return path if path.is_file() else None
    return None


def _hub_file(repository: str, filename: str) -> Path | None:
    found = try_to_load_from_cache(repository, filename)
    return Path(found) if isinstance(found, str) else None
