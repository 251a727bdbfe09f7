"""Largest eigenpairs of a small symmetric operator: form it, decompose it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from thalweg.curvature.lanczos import RitzPairs, residual_bounds, row_norms


def dense_eigenpairs(
    matvec: Callable[[Array], Array], p: int, dtype: Any, *, k: int, tol: float | Array = 1e-6
) -> RitzPairs:
    """Return the `k` largest (algebraic) eigenpairs of `matvec` on `R^p`, at `p` products.

    Traceable. The products are taken all at once (`vmap`), so memory grows with `p` copies of
    what one product needs. The arguments and the answer are those of `largest_eigenpairs`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> diagonal = jnp.array([1.0, 3.0, -10.0])
    >>> pairs = dense_eigenpairs(lambda v: diagonal * v, 3, diagonal.dtype, k=2)
    >>> pairs.values.round(4).tolist(), int(pairs.matvecs)
    ([3.0, 1.0], 3)
    """
    rows = jax.vmap(matvec)(jnp.eye(p, dtype=dtype))
    finite = jnp.all(jnp.isfinite(rows))
    rows = jnp.where(finite, rows, jnp.zeros_like(rows))
    # Half the sum overflows where the sum of halves does not.
    values, vectors = jnp.linalg.eigh(0.5 * rows + 0.5 * rows.T)
    values, vectors = values[::-1], vectors[:, ::-1]
    top = vectors[:, :k]
    # `rows` as it came, not symmetrised: an operator that is not symmetric must show here.
    residuals = row_norms((rows.T @ top - values[None, :k] * top).T)
    bounds = residual_bounds(values[:k], jnp.max(jnp.abs(values)), jnp.asarray(tol, dtype))
    nan = jnp.where(finite, jnp.ones((), dtype), jnp.full((), jnp.nan, dtype))
    return RitzPairs(
        values=values[:k] * nan,
        vectors=top * nan,
        residuals=residuals * nan,
        matvecs=jnp.asarray(p, jnp.int32),
        converged=finite & jnp.all(residuals <= bounds),
    )
