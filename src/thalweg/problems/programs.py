"""The programs that are compiled for a loss: few, so that a new loss costs little waiting.

All that is made of derivatives at single points (eigenpairs, linear solves, looks for kinks) calls
these, and is itself driven from the host.
"""

from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.problems.compiling import compiled
from thalweg.problems.problem import FlatProblem


@compiled
def value_and_gradient(problem: FlatProblem, w: Array) -> tuple[Array, Array]:
    """Return the loss and its gradient, shape `(p,)`."""
    return problem.value_and_gradient(w)


@compiled
def hessian_product(problem: FlatProblem, w: Array, v: Array) -> Array:
    """Return `∇²L(w) v`, shape `(p,)`."""
    return problem.hessian(w)(v)


@compiled
def hessian_matrix(problem: FlatProblem, w: Array) -> Array:
    """Return `∇²L(w)`, shape `(p, p)`, by all `p` products at once."""
    rows: Array = jax.vmap(problem.hessian(w))(jnp.eye(w.size, dtype=w.dtype))
    return rows


@compiled
def residual_products(problem: FlatProblem, w: Array, u: Array) -> tuple[Array, Array]:
    """Return `Jᵀ u`, shape `(p,)`, and `J Jᵀ u`, shape `(m,)`."""
    _, jacobian, transpose = problem.jacobian(w)
    image = transpose(u)
    return image, jacobian(image)


@compiled
def residuals(problem: FlatProblem, w: Array) -> Array:
    """Return `r(w)`, shape `(m,)`."""
    return problem.residuals(w)


@compiled
def sample_kernel(problem: FlatProblem, w: Array) -> Array | None:
    """Return the kernel between samples, shape `(n, n)`, or `None`."""
    return problem.sample_kernel(w)


def array_module(array: Array) -> ModuleType:
    """Return NumPy for an array on a CPU, whose memory it shares, else `jax.numpy`."""
    return np if all(device.platform == "cpu" for device in array.devices()) else jnp
