"""Options that make no sense are refused, with what to change: fields say what they may hold.

>>> from dataclasses import dataclass
>>> @dataclass
... class Options:
...     steps: Count = 10
>>> check_fields(Options(steps=0))
Traceback (most recent call last):
ValueError: steps must be at least 1, and below 2^63, got 0: change it
"""

import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_type_hints

import msgspec
from msgspec import Meta

_MOST, _MANY = 2**63 - 1, 2**31 - 1
_LARGEST = sys.float_info.max

MOST_LAYERS = 10_000
"""Networks are built layer by layer."""

Natural = Annotated[int, Meta(ge=0, le=_MOST, description="at least 0, and below 2^63")]
Count = Annotated[int, Meta(ge=1, le=_MOST, description="at least 1, and below 2^63")]
# Of a study: what it counts with, and far more than it could wait for.
FewOrNone = Annotated[int, Meta(ge=0, le=_MANY, description="at least 0, and below 2^31")]
Few = Annotated[int, Meta(ge=1, le=_MANY, description="at least 1, and below 2^31")]
Blocks = Annotated[int, Meta(ge=1, le=MOST_LAYERS, description="at least 1, and at most 10,000")]
Depth = Annotated[int, Meta(ge=2, le=MOST_LAYERS, description="at least 2, and at most 10,000")]
Width = Annotated[int, Meta(ge=1, le=1_000_000, description="at least 1, and at most 1,000,000")]
Finite = Annotated[float, Meta(ge=-_LARGEST, le=_LARGEST, description="finite")]
Positive = Annotated[float, Meta(gt=0, le=_LARGEST, description="positive and finite")]
Budgeted = Annotated[float, Meta(gt=0, description="positive (left out: no limit)")]
# Scaling all of a scalar network, nothing is lost.
Moderate = Annotated[
    float, Meta(ge=1e-100, le=1e100, description="positive, and between 1e-100 and 1e100")
]


def check_fields(options: Any) -> None:
    """Raise a ValueError for the first field out of the bounds that its class, or a base, gives."""
    for kind in reversed(type(options).__mro__):
        for name, hint in inspect.get_annotations(kind, eval_str=True).items():
            if name in vars(options) and any(_descriptions(hint)):
                _fitted(name, vars(options)[name], hint)


def fitted(kind: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a class as the types of its fields are, or raise a ValueError.

    >>> from thalweg.experiments import Scalar
    >>> fitted(Scalar, {"step_size": [1, 0.5]})
    {'step_size': (1.0, 0.5)}
    """
    hints = get_type_hints(kind, include_extras=True)
    return {name: _fitted(name, value, hints[name]) for name, value in options.items()}


def _fitted(name: str, value: Any, hint: Any) -> Any:
    try:
        plain = msgspec.to_builtins(value, enc_hook=_plain)
        return msgspec.convert(plain, hint, dec_hook=lambda kind, entry: kind(entry))
    except (msgspec.ValidationError, AttributeError) as error:
        wanted = next(_descriptions(hint), None)
        shown = " ".join(repr(value).split())[:80]
        what = f"must be {wanted}, got {shown}" if wanted else f"is {shown}: {error}"
        raise ValueError(f"{name} {what}: change it") from error


def _plain(value: Any) -> Any:
    """Return the string of a path, or the numbers of an array or of its scalars."""
    return os.fspath(value) if isinstance(value, os.PathLike) else value.tolist()


def _descriptions(hint: Any) -> Iterator[str]:
    """Yield what a type, and the types that it is made of, say of themselves."""
    yield from (said.description for said in getattr(hint, "__metadata__", ()))
    for part in get_args(hint):
        yield from _descriptions(part)
