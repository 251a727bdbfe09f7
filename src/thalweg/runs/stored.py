"""What `config.json` holds of a configuration, and back from there, trusting none of it."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from thalweg.runs.experiment import Experiment
from thalweg.runs.strict_json import to_json


def stored(config: Experiment) -> dict[str, Any]:
    """Return what `config.json` holds, as it is read back."""
    content = {"experiment": config.name, **dataclasses.asdict(config)}
    read: dict[str, Any] = json.loads(to_json(content))
    return read


def experiment_of(content: Mapping[str, Any], known: Mapping[str, type[Experiment]]) -> Experiment:
    """Return the configuration whose `config.json` holds `content`.

    Raises
    ------
    ValueError
        It is none of a known experiment: a name, an option or a value that does not belong there.

    Examples
    --------
    >>> from thalweg.experiments import EXPERIMENTS
    >>> experiment_of({"experiment": "scalar", "steps": 7}, EXPERIMENTS).steps
    7
    """
    options = dict(content)
    name = options.pop("experiment", None)
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"the configuration names no known experiment but {name!r}")
    kind = known[name]
    hints = typing.get_type_hints(kind)
    fields = {field.name for field in dataclasses.fields(kind)}
    unknown = sorted(set(options) - fields)
    if unknown:
        raise ValueError(f"the configuration has the unknown option {unknown[0]!r}")
    config = kind(**{key: _as(value, hints[key], key) for key, value in options.items()})
    config.check()
    return config


def _as(value: Any, hint: Any, name: str) -> Any:
    """Return the value as its type asks for, or raise."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        for part in parts:
            try:
                return _as(value, part, name)
            except ValueError:
                continue
    elif origin is typing.Literal:
        if value in parts:
            return value
    elif origin is tuple:
        if isinstance(value, list):
            return tuple(_as(entry, parts[0], name) for entry in value)
    elif hint is type(None):
        if value is None:
            return None
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            # Python's integers have no end; those of a float do.
            return value if abs(value) < 1e300 or isinstance(value, float) else math.inf
    elif isinstance(hint, type) and issubclass(hint, Enum | Path):
        if isinstance(value, str):
            return hint(value)
    elif isinstance(hint, type) and type(value) is hint:
        return value
    raise ValueError(f"the configuration has {value!r} for {name}, which cannot be")
