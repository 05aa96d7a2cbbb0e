"""Reads a run's TOML file, and says what is wrong with it."""

import difflib
import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from medte_haystack.errors import TrainingConfigError
from medte_haystack.training.config import Config

# Of these, a hash stands for what they name, or they leave the weights as they are.
_FREE = frozenset(
    {
        "base.name",
        "base.revision",
        "checkpoints.every",
        "checkpoints.keep",
        "data.pairs",
        "model.base",
        "run.device",
        "run.log_every",
        "run.workers",
    }
)


def load_config(path: str | os.PathLike[str], changes: Sequence[str] = ()) -> Config:
    """Read a configuration.

    :param path: A TOML file.
    :param changes: ``key=value`` with a dotted key and a TOML value, each of which replaces what the file has; one
        without a value removes the key.
    :raises TrainingConfigError: If the file cannot be read, or a key or value is wrong; names all of them.
    """
    place = os.fspath(path)
    try:
        values = tomllib.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise TrainingConfigError(f"{place} cannot be read: {error.strerror}", path=place) from None
    except ValueError as error:  # also what is not UTF-8
        raise TrainingConfigError(f"{place} is no TOML: {error}", path=place) from None
    for change in changes:
        _set(values, change)
    try:
        return Config.model_validate({"run": {}, **values})
    except ValidationError as error:
        found = [_told(one) for one in error.errors(include_url=False)]
        raise TrainingConfigError("\n  ".join([f"{place} cannot be used:", *found]), path=place) from None


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any, Any]]:
    """List what differs between two runs' records, but for keys of the configuration that decide nothing.

    :returns: Dotted keys with our value and theirs; None stands for what one of them has not.
    """
    found: list[tuple[str, Any, Any]] = []
    for key in dict.fromkeys([*ours, *theirs]):
        mine, other = ours.get(key), theirs.get(key)
        if isinstance(mine, Mapping) and isinstance(other, Mapping):
            found += differences(mine, other, f"{prefix}{key}.")
        elif mine != other and f"{prefix}{key}".removeprefix("config.") not in _FREE:
            found.append((f"{prefix}{key}", mine, other))
    return found


def _set(values: dict[str, Any], change: str) -> None:
    """Set one key of nested tables."""
    dotted, equals, text = change.partition("=")
    *tables, key = dotted.strip().split(".")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a word without quotes
    if not (equals and key and all(tables)):
        raise TrainingConfigError(f"{change!r} is no change of a key; write it as loss.temperature=0.07", value=change)
    for name in tables:
        inner = values.setdefault(name, {})
        if not isinstance(inner, dict):
            raise TrainingConfigError(f"{change!r} changes a key of {name}, which is no table", value=change)
        values = inner
    if text.strip():
        values[key] = value
    else:
        values.pop(key, None)


def _told(error: ErrorDetails) -> str:
    """Say of one error which key, which value, and what to do."""
    place = [str(part) for part in error["loc"]]
    key = ".".join(place)
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        known = _keys(place[:-1])
        near = difflib.get_close_matches(place[-1], known, n=1)
        hint = f"do you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        return f"{key}: there is no such key; {hint}"
    if error["type"] == "value_error":  # of a table as a whole
        return f"{key}: {message}" if key else message
    return f"{key} = {error['input']!r}: {message[0].lower()}{message[1:]}"


def _keys(tables: Sequence[str]) -> list[str]:
    """List the keys of a table."""
    table: type[BaseModel] = Config
    for name in tables:
        annotation = table.model_fields[name].annotation
        inner = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type)]
        table = next((one for one in inner if issubclass(one, BaseModel)), Config)
    return list(table.model_fields)
