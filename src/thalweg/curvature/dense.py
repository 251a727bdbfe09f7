"""Largest eigenpairs of a small symmetric operator, formed and decomposed."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.basics.blas import one_blas_thread
from thalweg.curvature.lanczos import Eigenpairs, not_finite, residual_bounds, row_norms


@one_blas_thread
def dense_eigenpairs(matrix: Array, *, k: int, tol: float = 1e-6) -> Eigenpairs:
    """Return the `k` largest (algebraic) eigenpairs of a matrix, shape `(p, p)`: `p` products.

    Its rows are taken as they came, not symmetrised: one that is not symmetric shows in the
    residuals.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> pairs = dense_eigenpairs(jnp.diag(jnp.array([1.0, 3.0, -10.0])), k=2)
    >>> pairs.values.round(4).tolist(), pairs.matvecs
    ([3.0, 1.0], 3)
    """
    rows = np.asarray(matrix)
    p = len(rows)
    if not np.all(np.isfinite(rows)):
        return not_finite(p, k, rows.dtype, matvecs=p)
    # Half the sum overflows where the sum of halves does not.
    values, vectors = np.linalg.eigh(0.5 * rows + 0.5 * rows.T)
    values, top = values[::-1], vectors[:, ::-1][:, :k]
    residuals = row_norms((rows.T @ top - values[None, :k] * top).T)
    bounds = residual_bounds(values[:k], float(np.max(np.abs(values))), tol, rows.dtype)
    return Eigenpairs(
        values=values[:k],
        vectors=jnp.asarray(top),
        residuals=residuals.astype(rows.dtype),
        matvecs=p,
        converged=bool(np.all(residuals <= bounds)),
    )
