"""Tell saddles from minima at the end of a flow."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from thalweg.curvature import RitzPairs, largest_eigenpairs, random_block
from thalweg.problems import FlatProblem
from thalweg.problems.compiling import compiled

RESOLUTION = 1e-4  # of the sharpness: downward curvature below this is not seen


def curves_downwards(problem: FlatProblem, w: Array, sharpness: float) -> tuple[bool, int]:
    """Return whether the Hessian at `w` curves downwards, and the Hessian products spent.

    Downward curvature counts from `RESOLUTION · sharpness` on.
    """
    shift = jnp.asarray(abs(sharpness), w.dtype)
    pairs = _largest_of_shifted_negative(problem, w, shift)
    lowest = float(shift) - float(pairs.values[0])
    downwards = lowest + float(pairs.residuals[0]) < -RESOLUTION * float(shift)
    return downwards, int(pairs.matvecs)


@compiled
def _largest_of_shifted_negative(problem: FlatProblem, w: Array, shift: Array) -> RitzPairs:
    hessian = problem.hessian(w)
    return largest_eigenpairs(
        lambda v: shift * v - hessian(v),
        random_block(jax.random.key(0), w.size, 1, w.dtype),
        k=1,
        tol=RESOLUTION,
        max_products=300,
    )
