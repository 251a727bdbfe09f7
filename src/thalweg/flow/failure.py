"""Why a flow cannot go on: what is not finite, or a loss that falls without bound."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array

from thalweg.flow.diverging_flow import DecadeSample
from thalweg.flow.solution import Status
from thalweg.problems import FlatProblem

DEPTH = 1e10  # below zero, in units of the loss in the first two decades: there is no bound


def non_finite_status(problem: FlatProblem, w: Array) -> Status:
    """Return the status of a flow at `w`, where loss, gradient or Hessian is not finite."""
    loss, gradient = problem.value_and_gradient(w)
    is_finite = bool(jnp.isfinite(loss) & jnp.all(jnp.isfinite(gradient)))
    return Status.NON_FINITE_HESSIAN if is_finite else Status.NON_FINITE


def is_unbounded(decades: Sequence[DecadeSample], loss: float) -> bool:
    """Return whether a loss has fallen so far that it cannot have a minimum.

    Parameters
    ----------
    decades
        Of each decade of time, the first from the first steps. By accident one of them may be near
        zero, hardly two.
    loss
        That of now.
    """
    scale = max((abs(sample.loss) for sample in decades[:2]), default=0.0)
    if len(decades) < 2:  # a flow that ends in finite time has no more
        return loss < -(DEPTH**2) * scale < 0
    return loss < -DEPTH * scale
