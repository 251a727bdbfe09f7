"""The programs that are compiled for a loss: few, so that a new loss costs little waiting.

All that is made of derivatives at single points (eigenpairs, linear solves, looks for kinks) calls
these, and is itself driven from the host.
"""

from functools import partial
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.problems.compiling import compiled
from thalweg.problems.problem import FlatProblem


@partial(compiled, seldom_run=True)
def hessian_product(problem: FlatProblem, w: Array, v: Array) -> Array:
    """Return `∇²L(w) v`, shape `(p,)`."""
    return problem.hessian(w)(v)


@compiled
def hessian_matrix(problem: FlatProblem, w: Array) -> Array:
    """Return `∇²L(w)`, shape `(p, p)`, by all `p` products at once."""
    rows: Array = jax.vmap(problem.hessian(w))(jnp.eye(w.size, dtype=w.dtype))
    return rows


@partial(compiled, seldom_run=True)
def residual_products(problem: FlatProblem, w: Array, u: Array) -> tuple[Array, Array, Array]:
    """Return `r(w)`, shape `(m,)`, `Jᵀ u`, shape `(p,)`, and `J Jᵀ u`, shape `(m,)`."""
    r, jacobian, transpose = problem.jacobian(w)
    image = transpose(u)
    return r, image, jacobian(image)


@partial(compiled, seldom_run=True)
def sample_kernel(problem: FlatProblem, w: Array) -> Array | None:
    """Return the kernel between samples, shape `(n, n)`, or `None`."""
    return problem.sample_kernel(w)


def norm(v: Array | np.ndarray) -> float:
    """Return `|v|`."""
    xp = array_module(v)
    return float(xp.linalg.norm(xp.asarray(v)))


def distance(a: Array, b: Array) -> float:
    """Return `|a - b|`."""
    xp = array_module(a)
    return float(xp.linalg.norm(xp.asarray(a) - xp.asarray(b)))


def array_module(array: Array | np.ndarray) -> ModuleType:
    """Return NumPy for an array on one CPU, whose memory it shares, else `jax.numpy`."""
    if isinstance(array, np.ndarray | np.generic):
        return np
    devices = array.devices()
    return np if len(devices) == 1 and next(iter(devices)).platform == "cpu" else jnp
