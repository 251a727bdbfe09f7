"""Parameters of networks, unless there are more than memory can hold."""

from collections.abc import Callable
from typing import Any

import jax

from thalweg.basics.memory import check_fits

COPIES = 4  # at least: iterate, gradient, and what a flow and an eigensolver work on


def init_if_fits(initialise: Callable[[], Any]) -> Any:
    """Return what `initialise` does.

    Raises
    ------
    ValueError
        It would not fit into memory. Nothing is allocated then.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> init_if_fits(lambda: jnp.zeros(2)).shape
    (2,)
    """
    shapes = jax.tree.leaves(jax.eval_shape(initialise))
    size = sum(shape.size * shape.dtype.itemsize for shape in shapes)
    check_fits(COPIES * size, "the parameters", "choose smaller widths")
    return initialise()
