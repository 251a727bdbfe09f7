"""Losses with kinks (ReLU): steps of a fixed relative length, and the spread of the limit's sides.

Where units switch, the velocity jumps. The flow soon slides along such kinks: the local error then
falls only like the step itself, steps that adapt to it collapse, and though the parameters
converge, the sharpness depends on the side that is taken of every kink at the limit. So no
tolerance helps; what can be told is how far apart the sides are.
"""

from dataclasses import dataclass, replace
from functools import partial
from math import isfinite
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from thalweg.curvature import top_eigenpairs
from thalweg.flow.finish import LinearLimit
from thalweg.flow.follow import BOUND_MARGIN, Limit, Pursuit
from thalweg.flow.method import Request
from thalweg.flow.rkc import stages
from thalweg.flow.segment import FlowState, one_step
from thalweg.flow.solution import FlowSolution, Status
from thalweg.flow.twice import Scheme, solve
from thalweg.problems import COST, FlatProblem
from thalweg.problems.compiling import compiled

SHARES = (0.4, 0.2)  # of the loss that a step would take away if the velocity did not change
PRECISION = 2e-3  # relative: what kinks leave of the sharpness, whatever the tolerance
SIDES = 8  # of the kinks at the limit that are tried
CAUTION = 2.0  # by which the error bar is widened
ASIDE = 1e-7  # how far to step aside for that, relative to the size of the parameters
ROUGH = 1.5  # by what a step across kinks may raise the loss; more is tried again, shorter
TRIALS = 6
HALVINGS = 7
FIRST = 2.0**-4  # the longest displacement of the test for kinks, relative to the parameters
LEAST_FALL = 1.6  # halving a displacement divides the bend of a smooth gradient by 2 or more,
UNEVEN = 1.4  # and each halving by nearly as much as the one before


@compiled
def _bends(problem: FlatProblem, w: Array) -> Array:
    """Return how bent the gradient is along displacements that are halved one after the other.

    `|g(w + d) - 2 g(w + d/2) + g(w)| / |g(w + d) - g(w)|`, in a random direction.
    """
    d = jax.random.normal(jax.random.key(0), w.shape, w.dtype)
    d = d * FIRST * jnp.linalg.norm(w) / jnp.linalg.norm(d)
    parts = jnp.asarray([0.5**k for k in range(HALVINGS + 1)] + [0.0], w.dtype)
    at = lax.map(lambda part: problem.gradient(w + part * d), parts)
    far, near, here = at[:-2], at[1:-1], at[-1:]
    norm = partial(jnp.linalg.norm, axis=1)
    return norm(far - 2 * near + here) / norm(far - here)


def has_kinks(problem: FlatProblem, w: Array) -> bool:
    """Return whether the gradient jumps near `w`, as seen in one direction. Costs nine gradients.

    The bend of a smooth gradient is halved with the displacement (divided by four at a point of
    symmetry). Jumps are not: as long as there are any on the way the bend stays, and it falls
    suddenly with the last of them. Kinks that are
    few, or met only later, are missed.

    Examples
    --------
    >>> from thalweg.problems import flatten
    >>> w = jnp.linspace(-1.0, 1.0, 1000)
    >>> has_kinks(*flatten(lambda w: jnp.sum(jax.nn.relu(w)), w))
    True
    >>> has_kinks(*flatten(lambda w: jnp.sum(jax.nn.softplus(w)), w))
    False
    """
    bends = np.asarray(_bends(problem, w), float)
    # Below this a bend is rounding.
    floor = 100 * float(jnp.finfo(w.dtype).eps) / FIRST * 2.0 ** np.arange(HALVINGS)
    told = (bends[:-1] > floor[:-1]) & (bends[1:] > floor[1:])
    falls = bends[:-1][told] / bends[1:][told]
    changes = falls[1:] / falls[:-1]
    smooth = np.all(falls > LEAST_FALL) and np.all(np.abs(np.log(changes)) < np.log(UNEVEN))
    return not bool(smooth)


@compiled
def _step(problem: FlatProblem, state: FlowState, share: Array, bound: Array) -> FlowState:
    slope = jnp.vdot(state.velocity, state.velocity)
    length = share * state.loss / jnp.maximum(slope, jnp.finfo(slope.dtype).tiny)
    w = one_step(problem, state.w, length, bound)
    loss, gradient = problem.value_and_gradient(w)
    return FlowState(state.time + length, w, -gradient, loss, length)


class _Sliding(Pursuit):
    """Follows the flow by steps that each take away the same share of the loss, about."""

    def _advance(self, state: FlowState, tolerance: float) -> FlowState:
        dtype, end, work = state.w.dtype, state, 0.0
        for trial in range(TRIALS):
            positive = max(self.bound, float(jnp.finfo(dtype).tiny) ** 0.5)
            bound = jnp.asarray(BOUND_MARGIN * positive, dtype)
            end = _step(self.problem, state, jnp.asarray(tolerance / 4**trial, dtype), bound)
            work += float(stages(end.step, bound)) + COST.gradient
            if float(end.loss) <= ROUGH * float(state.loss):
                break
            self._renew_bound(state.w)  # beyond a kink the curvature may exceed the bound
        # A loss that is not finite ends the flow; there is no curvature there.
        w = end.w if isfinite(float(end.loss)) else state.w
        self.count_steps(work, w, is_bound_stale=False)
        return end

    def _is_useful(self, limit: LinearLimit) -> bool:
        # With kinks on the way the linear model predicts no loss.
        return bool(limit.solved) and bool(jnp.isfinite(limit.loss))

    def ends_in_saddle(self, limit: Limit) -> bool:
        """Return false: between kinks, curvature says nothing of the loss beyond them."""
        return False


@dataclass(frozen=True)
class Kinked:
    """Steps of RKC2 by the loss they take away, and a status that says where `φ` is a set.

    The flow is followed twice, by steps of `0.4 L/|∇L|²` and half of that, each until linear limits
    taken one after the other agree to the accuracy asked for, or to 2e-3 if that is larger: kinks
    leave no less. The error bar is twice the sum of the whole difference between the two, of the
    change between the last linear limits, and of the spread of the sharpness over eight points
    beside the limit, each on a side of its own of every kink that passes through it. The status is
    `SET_VALUED` where the bar exceeds `rtol`.
    """

    name: ClassVar[str] = "kinked"

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Follow the flow from the vector `w`, shape `(p,)`, to its limit."""
        scheme = Scheme(self.name, _Sliding, SHARES, extrapolation=0.0, integration=1.0)
        relaxed = replace(request, rtol=max(request.rtol, PRECISION / 0.4))
        found = solve(scheme, problem, w, relaxed)
        if found.status not in (Status.CONVERGED, Status.INACCURATE):
            return found
        spread, work = _spread(problem, found)
        error = CAUTION * (found.sharpness_error + spread)
        accurate = error <= request.rtol * abs(found.sharpness)
        return replace(
            found,
            sharpness_error=error,
            status=Status.CONVERGED if accurate else Status.SET_VALUED,
            gradient_evaluations=found.gradient_evaluations + work,
            courses=None,  # neighbours may slide along other kinks
        )


def _spread(problem: FlatProblem, found: FlowSolution) -> tuple[float, float]:
    """Return the spread of the sharpness over the sides of the limit, and the work of that."""
    w = jnp.asarray(found.w)
    aside = max(ASIDE, 30 * float(jnp.finfo(w.dtype).eps))
    size = aside * jnp.linalg.norm(w) / w.size**0.5
    values, work = [found.sharpness], 0.0
    for key in jax.random.split(jax.random.key(1), SIDES):
        beside = w + size * jax.random.normal(key, w.shape, w.dtype)
        pairs = top_eigenpairs(problem, beside, tol=1e-5, start=found.eigenvector)
        values.append(float(pairs.values[0]))
        work += COST.hessian_product * pairs.matvecs
    return max(values) - min(values), work
