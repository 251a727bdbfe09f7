"""The largest eigenvalues of a loss's Hessian, by the method that its size asks for."""

import operator
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, SupportsIndex

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from thalweg.curvature.dense import dense_eigenpairs
from thalweg.curvature.lanczos import Eigenpairs, largest_eigenpairs
from thalweg.curvature.starts import random_block, warm_block
from thalweg.problems import flatten
from thalweg.problems.programs import hessian_matrix, hessian_product

# Up to here the whole Hessian takes less time than a Lanczos run (measured on CPU, small networks:
# 0.9 against 2.2 ms at p = 43, slower at p = 103), and it cannot miss an eigenvalue.
DENSE_UP_TO = 64


def top_eigenpairs(
    loss: Callable[[Any], Any],
    w: PyTree,
    k: int = 1,
    *,
    tol: float = 1e-6,
    start: Any = None,
    max_products: int = 2000,
    seed: int = 0,
) -> Eigenpairs:
    """Return the `k` largest (algebraic, not largest in magnitude) eigenpairs of `∇²L(w)`.

    Small Hessians are formed and decomposed (`p` products, whatever `start` and `max_products`);
    else thick-restart Lanczos, which never forms them (`largest_eigenpairs`). The product is
    compiled once for each structure of loss and `w`.

    Parameters
    ----------
    loss
        A problem, or any callable from parameters to a scalar.
    w
        Parameters: any pytree with floating-point arrays, whose dtype decides the precision.
    k
        How many. A repeated eigenvalue is found as often as it occurs, up to `k`.
    tol
        Wanted: `‖H v - λ v‖ ≤ tol |λ|`, plus 32 units of rounding of `‖H‖`.
    start
        Eigenvectors of a neighbour, shape `(p,)` or `(p, c)`, as in `Eigenpairs.vectors`. Saves
        a quarter (`tol` 1e-4) to 40 % (1e-6) of the products for `k = 1`, nothing at 1e-3. May
        miss an eigenvalue that has overtaken by less than 1 % (`warm_block` says why).
    max_products
        Budget of Hessian-vector products; used up, `converged` is `False`.
    seed
        Of the random part of the start.

    Raises
    ------
    ValueError
        `k`, `tol`, `max_products` or `start` make no sense, or `w` is not finite.
    TypeError
        `w` holds no floating-point array, or the loss does not return a real scalar.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> loss = lambda w: 0.5 * (1.0 - w[0] * w[1]) ** 2
    >>> pairs = top_eigenpairs(loss, jnp.array([2.0, 0.5]))  # x² + y² at a minimum
    >>> round(float(pairs.values[0]), 5), pairs.vectors.shape, pairs.converged
    (4.25, (2, 1), True)
    """
    problem, vector = flatten(loss, w)
    k = _checked(k, tol, max_products, vector)
    if vector.size <= DENSE_UP_TO:
        return dense_eigenpairs(hessian_matrix(problem, vector), k=k, tol=tol)
    if start is None:
        block = random_block(seed, vector.size, k, vector.dtype)
    else:
        block = warm_block(seed, _checked_start(start, vector), k, tol=tol)
    return largest_eigenpairs(
        partial(hessian_product, problem, vector),
        block,
        k=k,
        tol=tol,
        max_products=max_products,
        seed=seed,
    )


def sharpness(loss: Callable[[Any], Any], w: PyTree, *, tol: float = 1e-6) -> float:
    """Return the sharpness `λ(w)`, the largest algebraic eigenvalue of `∇²L(w)`.

    `top_eigenpairs(loss, w)` is the whole answer, with its residual; the parameters and errors
    are explained there. Warns (`RuntimeWarning`) where the eigensolver has not converged; NaN
    where the Hessian is not finite.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> hessian = jnp.array([1.0, 2.0, 3.0, -10.0])
    >>> round(sharpness(lambda w: 0.5 * jnp.sum(hessian * w**2), jnp.ones(4)), 5)
    3.0
    """
    pairs = top_eigenpairs(loss, w, tol=tol)
    if not pairs.converged:
        warnings.warn(
            f"the sharpness is not known to tol={tol}: its residual is {pairs.residuals[0]:.1e} "
            f"after {pairs.matvecs} products; call top_eigenpairs with more max_products or a "
            "larger tol, and check that the loss is finite",
            RuntimeWarning,
            stacklevel=2,
        )
    return float(pairs.values[0])


def _checked(k: SupportsIndex, tol: float, max_products: int, w: Array) -> int:
    k = operator.index(k)
    if not 1 <= k <= w.size:
        raise ValueError(f"k must be between 1 and the {w.size} parameters, got {k}")
    if not 0 < tol < np.inf:
        raise ValueError(f"tol must be positive and finite, got {tol}; ask e.g. for 1e-6")
    if not max_products >= k:
        raise ValueError(f"max_products must be at least k = {k}, got {max_products}; raise it")
    if w.dtype not in (jnp.float32, jnp.float64):
        raise ValueError(f"eigenvalues need float32 or float64; cast the {w.dtype} parameters")
    return k


def _checked_start(start: Any, w: Array) -> Array:
    block = jnp.asarray(start, w.dtype)
    block = block[:, None] if block.ndim == 1 else block
    if block.ndim != 2 or block.shape[0] != w.size or block.shape[1] == 0:
        raise ValueError(
            f"start must have shape ({w.size},) or ({w.size}, columns), got {jnp.shape(start)}; "
            "pass the vectors of a neighbour's Eigenpairs"
        )
    if not bool(jnp.all(jnp.isfinite(block))):
        raise ValueError("start holds NaN or infinity; leave it out to start from random vectors")
    return block
