"""Nonsmooth losses (ReLU): steps of a fixed relative length, one-sided sharpness at the limit.

Where units switch, the velocity jumps. The flow soon slides along such kinks (Filippov's sliding
modes): the local error then falls only like the step itself, steps that adapt to it collapse, and
though the parameters converge, the sharpness depends on the side that is taken of every kink at the
limit. So no tolerance helps; what can be computed is how far apart the sides are.
"""

from dataclasses import dataclass, replace
from math import isfinite
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.limit_estimate import Limit, LimitEstimate
from thalweg.flow.linearized_limit import LinearizedLimit
from thalweg.flow.method import Request
from thalweg.flow.one_sided_sharpness import SharpnessRange, one_sided_sharpness
from thalweg.flow.rkc import stage_count
from thalweg.flow.solution import FlowSolution, Status
from thalweg.flow.step import FlowState, rkc2_end
from thalweg.flow.tolerance_pair import TolerancePair, solve
from thalweg.problems import FlatProblem
from thalweg.problems.programs import norm

SHARES = (0.4, 0.2)  # of the loss that a step would take away if the velocity did not change
PRECISION = 2e-3  # relative: what kinks leave of the sharpness, whatever the tolerance
SAFETY_FACTOR = 2.0  # by which the error bar is widened
MAX_RISE = 1.5  # by what a step across kinks may raise the loss; more is tried again, shorter
TRIALS = 6
NEAR_ZERO = 0.9  # of the loss: what a limit of zero loss may be missed by, across kinks
DISTANCE, TOLERANCE = 1e-7, 1e-5  # relative, of the sides of a limit: distance, and accuracy


def _step(
    problem: FlatProblem, state: FlowState, share: float, bound: float, longest: float
) -> FlowState:
    slope = float(jnp.vdot(state.velocity, state.velocity))
    dtype = state.w.dtype
    length = share * float(state.loss) / max(slope, float(jnp.finfo(dtype).tiny))
    h = np.asarray(min(length, longest), dtype)
    count = np.asarray(stage_count(float(h), bound))
    w, loss, velocity = rkc2_end(problem, state.w, state.velocity, h, count)
    return FlowState(np.asarray(state.time + h, dtype), w, velocity, loss, h, state.errors)


class _NonsmoothIntegrator(FlowIntegrator):
    """Integrates by steps that each take away the same share of the loss, about."""

    gives_up = False  # its steps are not those of a smooth flow, nor is its work

    def _advance(self, state: FlowState, tolerance: float) -> FlowState:
        end, work = state, 0.0
        for trial in range(TRIALS):
            bound = self._positive_bound()
            end = _step(self.problem, state, tolerance / 4**trial, bound, self._longest_step(bound))
            work += stage_count(float(end.step), bound)
            if float(end.loss) <= MAX_RISE * float(state.loss):
                break
            self._renew_bound(state.w)  # beyond a kink the curvature may exceed the bound
        # A loss that is not finite ends the flow; there is no curvature there.
        w = end.w if isfinite(float(end.loss)) else state.w
        self.count_steps(work, w, is_bound_stale=False)
        return end

    def _is_estimate_due(self, state: FlowState) -> bool:
        # Along kinks the velocity does not tell how far the limit is.
        is_low = float(state.loss) <= self.next_estimate_loss
        return is_low or self.work_of_steps >= self.next_estimate_work

    def _is_useful(self, limit: LinearizedLimit) -> bool:
        # With kinks on the way the linear model predicts no loss.
        return limit.solved and isfinite(limit.loss)

    def _limit_at(self, state: FlowState, estimate: LimitEstimate) -> Limit | None:
        # Between kinks, neither gradient nor curvature says anything of the loss beyond them.
        if estimate.solver.by_residuals and estimate.limit.loss > NEAR_ZERO * estimate.loss:
            return None
        return self.estimated_limit()

    def one_sided_range(self, w: Array) -> SharpnessRange | None:
        return None  # computed wherever such a flow ends

    def _classified(self, limit: Limit, state: FlowState) -> Limit | None:
        return limit


@dataclass(frozen=True)
class Kinked:
    """Steps of RKC2 by the loss they take away, and a status that says where `φ` is a set.

    The flow is integrated twice, by steps of `0.4 L/|∇L|²` and half of that, each until linearised
    limits taken one after the other agree to the accuracy asked for, or to 2e-3 if that is larger:
    kinks leave no less. The error bar is twice the sum of the difference between the two and of the
    change between the last linearised limits, and the distance to the farthest of the one-sided
    sharpnesses (`thalweg.flow.one_sided_sharpness`). It is `SET_VALUED` where that exceeds `rtol`.
    """

    name: ClassVar[str] = "kinked"

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Follow the flow from the vector `w`, shape `(p,)`, to its limit."""
        pair = TolerancePair(
            *(self.name, _NonsmoothIntegrator, SHARES),
            extrapolation=0.0,
            integration=1.0,
            safety_factor=5.0,
        )
        relaxed = replace(request, rtol=max(request.rtol, PRECISION / 0.4))
        found = solve(pair, problem, w, relaxed)
        found = replace(found, step_records=None)  # neighbours may slide along other kinks
        if not found.status.is_settled:
            return found
        limit = jnp.asarray(found.w)
        beside = one_sided_sharpness(problem, limit, DISTANCE * norm(limit), TOLERANCE)
        farthest = max(found.sharpness - beside.lowest, beside.highest - found.sharpness, 0.0)
        error = SAFETY_FACTOR * found.sharpness_error + farthest
        is_accurate = error <= request.rtol * abs(found.sharpness)
        return replace(
            found,
            sharpness_error=error,
            status=Status.CONVERGED if is_accurate else Status.SET_VALUED,
            gradient_evaluations=found.gradient_evaluations + beside.work,
        )
