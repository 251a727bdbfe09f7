"""JSON as the standard has it: objects with string keys, no NaN and no infinities."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """Write `value` as strict JSON, which has no NaN and no infinities: they become `null`.

    Mappings with string keys, lists, tuples, strings, numbers, booleans, `None`, paths (as
    strings), and arrays and array scalars of numpy or JAX (as numbers and lists) are accepted.
    Anything else is a TypeError that names the place where it stands.

    >>> to_json({"step_size": 0.2, "threshold": float("inf")}, indent=None)
    '{"step_size": 0.2, "threshold": null}'
    """
    return json.dumps(_plain(value, "value"), indent=indent, allow_nan=False)


def as_read(value: Any) -> Any:
    """Return what is read back where `value` was written.

    >>> as_read({"widths": (64, 64), "threshold": float("nan")})
    {'widths': [64, 64], 'threshold': None}
    """
    return json.loads(to_json(value))


def parse_object(path: Path, content: bytes) -> dict[str, Any]:
    """Return the JSON object that the file `path` holds as `content`, or raise a ValueError."""
    try:
        value = json.loads(content.decode())
    # Malformed JSON, bytes that are not UTF-8, or parentheses without end.
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds no JSON object")
    return value


def _plain(value: Any, where: str) -> Any:
    """Turn `value` into what `json` writes strictly; `where` names it in messages."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)  # an IntEnum is written as its number
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where} has the key {key!r}, and JSON's keys are strings")
        return {str(key): _plain(entry, f"{where}[{key!r}]") for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry, f"{where}[{index}]") for index, entry in enumerate(value)]
    if hasattr(value, "tolist"):  # arrays and scalars of numpy and JAX, without importing either
        return _plain(value.tolist(), where)
    raise TypeError(f"{where} is of type {type(value).__name__}, which JSON cannot hold")
