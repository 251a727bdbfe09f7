"""Why a flow cannot go on: what is not finite, or a loss that falls without bound."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array

from thalweg.flow.runaway import Mark
from thalweg.flow.solution import Status
from thalweg.problems import FlatProblem

FALLEN = 1e10  # below zero, in units of the loss in the first two decades: there is no bound


def what_is_not_finite(problem: FlatProblem, w: Array) -> Status:
    """Return the status of a flow at `w`, where loss, gradient or Hessian is not finite."""
    loss, gradient = problem.value_and_gradient(w)
    is_finite = bool(jnp.isfinite(loss) & jnp.all(jnp.isfinite(gradient)))
    return Status.NON_FINITE_HESSIAN if is_finite else Status.NON_FINITE


def falls_without_bound(marks: Sequence[Mark], loss: float) -> bool:
    """Return whether a loss has fallen so far that it cannot have a minimum.

    Parameters
    ----------
    marks
        Of each decade of time, the first from the first steps. By
        accident one of them may be near zero, hardly two.
    loss
        That of now.
    """
    return len(marks) >= 2 and loss < -FALLEN * max(abs(mark.loss) for mark in marks[:2])
