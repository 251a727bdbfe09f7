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
    """
    if np.issubdtype(np.asarray(data).dtype, np.inexact) and not np.all(np.isfinite(data)):
        raise ValueError(f"{name} holds NaN or infinity; remove or impute those entries")
    return jnp.asarray(data)
