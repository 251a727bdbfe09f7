"""Checks of the data that problems are built from."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def checked(data: Any, name: str) -> Array:
    """Return `data` as an array.

    Raises
    ------
    ValueError
        It holds NaN or infinity.
    TypeError
        It holds something else than real numbers.
    """
    dtype = np.asarray(data).dtype
    if not any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_)):
        raise TypeError(f"{name} must hold real numbers, but is of dtype {dtype}: convert it")
    if np.issubdtype(np.asarray(data).dtype, np.inexact) and not np.all(np.isfinite(data)):
        raise ValueError(f"{name} holds NaN or infinity; remove or impute those entries")
    return jnp.asarray(data)
