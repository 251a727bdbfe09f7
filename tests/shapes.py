"""What checks the shapes in signatures while tests run: `--jaxtyping-packages`, in pyproject.toml.

Arrays alone are checked, by beartype. What else a signature says is mypy's to check; and whether
what a user passes makes sense, the package itself says, in words that tests look for.
"""

import inspect
from collections.abc import Callable
from typing import TypeVar, get_args

import beartype
from jaxtyping import AbstractArray

F = TypeVar("F", bound=Callable)


def names_a_shape(hint):
    """Return whether a hint says anything about the shape of an array."""
    if inspect.isclass(hint) and issubclass(hint, AbstractArray):
        return True
    return any(map(names_a_shape, get_args(hint)))


def checked(function: F) -> F:
    """Return `function` with its arrays checked, among arguments and results."""
    hints = function.__annotations__
    function.__annotations__ = {name: hint for name, hint in hints.items() if names_a_shape(hint)}
    try:
        return beartype.beartype(function)
    finally:
        function.__annotations__ = hints
