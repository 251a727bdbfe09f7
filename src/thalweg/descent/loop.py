"""The compiled part of a run: many steps in one call, the loss of each recorded.

The number of steps is an argument of the compiled loop, not a part of it: whatever the schedule
of the measurements, one compilation serves the whole run. An iterate carries its own loss and
gradient, so that the loss where a chunk ends is known at no extra cost: a run of `n` steps costs
`n + 1` gradients.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from thalweg.descent.updates import Update, accepted_arguments
from thalweg.problems import Problem
from thalweg.problems.compiling import compiled

CHUNK = 1024
"""Most steps in one call; also the size of the buffer of losses."""


class Iterate(NamedTuple):
    """Parameters, the loss and the gradient there, and the state of the update."""

    w: PyTree
    loss: Float[Array, ""]
    gradient: PyTree
    state: PyTree


@compiled
def first_iterate(problem: Problem, update: Update, w: PyTree) -> Iterate:
    """Return the iterate at `w`, before any step."""
    loss, gradient = problem.value_and_gradient(w)
    return Iterate(w, loss, gradient, update.init(eqx.filter(w, eqx.is_inexact_array)))


@compiled
def advance(
    problem: Problem,
    update: Update,
    iterate: Iterate,
    count: Int[Array, ""],
    limit: Float[Array, ""],
) -> tuple[Iterate, Int[Array, ""], Float[Array, " CHUNK"]]:
    """Take up to `count <= CHUNK` steps; fewer if one is not `is_finite_and_bounded`.

    Returns the last iterate, the number of steps taken, and the losses after each of them, of which
    so many are meaningful.
    """
    arrays, static = eqx.partition(iterate, eqx.is_array)
    losses = jnp.zeros(CHUNK, iterate.loss.dtype)

    def going(carry: tuple[Array, Any, Array]) -> Bool[Array, ""]:
        taken, arrays, _ = carry
        return (taken < count) & is_finite_and_bounded(eqx.combine(arrays, static), limit)

    def step(carry: Any) -> Any:
        taken, arrays, losses = carry
        after = _step(problem, update, eqx.combine(arrays, static))
        losses = losses.at[taken].set(after.loss)
        return taken + 1, eqx.filter(after, eqx.is_array), losses

    start = (jnp.zeros_like(count), arrays, losses)
    taken, arrays, losses = jax.lax.while_loop(going, step, start)
    return eqx.combine(arrays, static), taken, losses


def is_finite_and_bounded(iterate: Iterate, limit: Float[Array, ""]) -> Bool[Array, ""]:
    """Whether all is finite and the loss is not above `limit` (else: diverged)."""
    leaves = jax.tree.leaves((iterate.gradient, eqx.filter(iterate.w, eqx.is_inexact_array)))
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in leaves]
    return (iterate.loss <= limit) & jnp.isfinite(iterate.loss) & jnp.all(jnp.stack(finite))


def _step(problem: Problem, update: Update, iterate: Iterate) -> Iterate:
    params, rest = eqx.partition(iterate.w, eqx.is_inexact_array)
    known = {
        "value": iterate.loss,
        "grad": iterate.gradient,
        "value_fn": lambda params: problem(eqx.combine(params, rest)),
    }
    more = accepted_arguments(update, known)
    change, state = update.update(iterate.gradient, iterate.state, params, **more)
    w = eqx.apply_updates(iterate.w, change)
    loss, gradient = problem.value_and_gradient(w)
    return Iterate(w, loss, gradient, state)
