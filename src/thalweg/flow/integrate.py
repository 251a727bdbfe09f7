"""Integrate the flow at one tolerance until the sharpness at its limit is known."""

from dataclasses import replace
from math import inf, isfinite, nan
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.curvature import Eigenpairs, top_eigenpairs
from thalweg.flow.diverging_flow import DecadeSample, diverges, is_drifting
from thalweg.flow.failure import is_unbounded, non_finite_status
from thalweg.flow.integration_options import IntegrationOptions
from thalweg.flow.integrator_state import LISTS, VALUES, IntegratorState
from thalweg.flow.limit_estimate import Limit, LimitEstimate
from thalweg.flow.linearized_limit import (
    LinearizedLimit,
    LinearizedSolver,
    factor_kernel,
    kernel_cost,
)
from thalweg.flow.one_sided_sharpness import SharpnessRange, nearest_jump, one_sided_sharpness
from thalweg.flow.rkc import length_of
from thalweg.flow.saddle import leaves_saddle, lowest_curvature
from thalweg.flow.solution import Status
from thalweg.flow.stationary_point import stationary_point_near
from thalweg.flow.step import (
    FlowState,
    Trial,
    loses_all,
    loss_and_velocity,
    rkc2_steps,
    start,
    trial_step,
)
from thalweg.flow.step_record import Endpoint, StepRecord, Steps
from thalweg.flow.too_slow import EARLY, LEAST_WORK, forecast_by_moves, pace_of
from thalweg.flow.work_budget import TaskWork
from thalweg.problems import COST, FlatProblem
from thalweg.problems.programs import distance, norm

ALGEBRAIC_DECAY = 10.0  # sharpness times time: more where a flow has come to rest exponentially
ONE_SIDED_TOLERANCE = 1e-5  # of the sharpness on each side of a limit
ROUNDING = 4.0  # units of it: what the error of a step cannot be told from
SHARPNESS_SLOPE = 0.25  # of the relative distance of two endpoints: a difference of their sharpness


class FlowIntegrator:
    """The flow at one tolerance: its state, its spectral bound, and its estimates of the limit."""

    steps_again: Steps = staticmethod(rkc2_steps)
    remaining = inf  # the distance left to go, and the logarithm of the growth of perturbations,
    growth = 0.0  # where the method knows
    gives_up = True  # where the budget is forecast not to be enough
    is_alone = True  # not to be compared with another one

    def __init__(
        self,
        problem: FlatProblem,
        w: Array,
        rtol: float,
        budget: TaskWork,
        eigenvector: Array | None,
        options: IntegrationOptions,
    ):
        self.problem, self.rtol, self.budget, self.options = problem, rtol, budget, options
        self.steps: list[tuple[float, float]] = []  # taken: their lengths, and bounds relied on
        self.kernel_inverse: Array | None = None
        self.origin, self.eigenvector = w, eigenvector
        self.bound = self.work_since_bound = 0.0
        self.work_of_steps = 0.0
        self.estimates: list[LimitEstimate] = []
        self.next_estimate_loss, self.next_estimate_work = -inf, options.search.first_work
        self.next_estimate_speed = 0.0
        self.settled = 0  # the number of estimates when the flow was last asked to end
        # Not infinity, which JAX's debugging switches would take for a mistake.
        self.t_max = self.t_end = float(jnp.finfo(w.dtype).max)
        self.decades: list[DecadeSample] = []
        self.state: FlowState | None = None
        self._snapshot: dict[str, Any] | None = None

    @property
    def time(self) -> float:
        """The time that the flow has reached."""
        return 0.0 if self.state is None else float(self.state.time)

    @property
    def beside(self) -> LimitEstimate | None:
        """The next estimate of another flow to be compared with, if there is one."""
        return None

    def snapshot(self) -> IntegratorState | None:
        """Return the state before the last step; may be called at any time."""
        if (taken := self._snapshot) is None:
            return None
        lists = {name: getattr(self, name)[: taken[name]] for name in LISTS}
        lists["steps"] = np.asarray(lists["steps"], float).reshape(-1, 2)
        return IntegratorState(**(taken | lists))

    def restore(self, saved: IntegratorState) -> None:
        """Go on from the state of an earlier integrator of the same flow."""
        self.state, self.budget.spent = saved.state, saved.spent
        for name in VALUES:
            setattr(self, name, getattr(saved, name))
        self.steps = [(length, bound) for length, bound in saved.steps.tolist()]
        self.estimates, self.decades = list(saved.estimates), list(saved.decades)
        self._take_snapshot(saved.state)

    def integrate(self, tolerance: float) -> Limit | None:
        """Integrate on until the flow ends, or, `None`, to the next useful estimate of its limit.

        The local error of a step `h` is kept to `tolerance · h λ`, relative to the size of `w`.
        """
        if self.state is None and not self._init():
            return self.failed_limit(non_finite_status(self.problem, self.origin))
        state = self.state
        assert state is not None
        while True:
            self.state = state
            self._take_snapshot(state)
            if not self._pauses(state):
                ended = self._terminate(state)
                if ended is not None or self._pauses(state):
                    self._take_snapshot(state)
                    return ended
            bound = self.options.bound.margin * max(self.bound, 0.0)
            state = self._advance(state, tolerance)
            if (length := float(state.time - self.state.time)) > 0:
                self.steps.append((length, bound))
            self.budget.record(float(state.time), float(state.loss))

    def _pauses(self, state: FlowState) -> bool:
        """Whether the limit has just been estimated, so that the flow may be asked to settle."""
        return bool(self._useful_estimates) and self.estimates[-1].time == float(state.time)

    def agrees(self, part: float) -> bool:
        """Whether the last estimates of the limit agree to a part of `rtol`, and may be the end."""
        if self.state is None or self.settled == len(self.estimates):
            return False
        last = self.estimates[-1]
        return self._pauses(self.state) and self._error_of(last) <= self._tolerated(last, part)

    def settle(self) -> Limit | None:
        """Return the limit at the last estimate, or `None` where there is none."""
        assert self.state is not None
        self.settled = len(self.estimates)
        limit = self._limit_at(self.state, self.estimates[-1])
        self._take_snapshot(self.state)
        return limit

    def estimated_limit(self) -> Limit | None:
        """Return the limit as it was last estimated, if it was."""
        if not (useful := self._useful_estimates):
            return None
        last = useful[-1]
        assert last.pairs is not None
        return self._limit(last.limit.w, last.limit.loss, last.pairs, self._error_of(last))

    def _error_of(self, estimate: LimitEstimate) -> float:
        """Return the error of the sharpness at an estimate, infinite where it is not known."""
        earlier = [one for one in self._useful_estimates if one.time < estimate.time]
        return max(map(estimate.error_from, earlier), default=inf)

    def _init(self) -> bool:
        """Find the first state; return whether it could be found."""
        self._renew_bound(self.origin)
        if not isfinite(self.bound):
            return False
        step = 0.5 / self.bound if self.bound > 0 else 1.0
        self.state = start(self.problem, self.origin, step)
        self.budget.spend(COST.gradient)
        first_loss = self.options.search.first_loss
        self.next_estimate_loss = first_loss * float(self.state.loss)
        self.next_estimate_speed = first_loss**0.5 * norm(self.state.velocity)
        return True

    def _take_snapshot(self, state: FlowState) -> None:
        values = {name: getattr(self, name) for name in VALUES}
        counts = {name: len(getattr(self, name)) for name in LISTS}
        self._snapshot = {"spent": self.budget.spent, "state": state} | values | counts

    def failed_limit(self, status: Status) -> Limit:
        """Return the current state as a limit that was not reached for the given reason."""
        w = self.origin if self.state is None else self.state.w
        loss = float(loss_and_velocity(self.problem, w)[0])
        return Limit(w, self.bound, inf, loss, self.eigenvector, status=status)

    def _terminate(self, state: FlowState) -> Limit | None:
        if not (isfinite(float(state.loss)) and isfinite(self.bound)):
            return self.failed_limit(non_finite_status(self.problem, state.w))
        if is_unbounded(self.decades, float(state.loss)):
            return self.failed_limit(Status.UNBOUNDED)
        if self._is_at_rest(state):
            return self._limit_at_rest(state)
        if self._is_estimate_due(state) and (limit := self._estimate_limit(state)) is not None:
            return limit
        self._sample_decade(state)
        if diverges(self.decades):
            return self.failed_limit(Status.NO_MINIMISER_FOUND)
        is_due = self.gives_up and self.work_of_steps > LEAST_WORK
        if is_due and self._forecast() > self.budget.most:
            pace = pace_of(self.decades, self.time, self.work_of_steps)
            return replace(self.failed_limit(Status.TOO_SLOW), detail=pace)
        return None

    def _is_estimate_due(self, state: FlowState) -> bool:
        if float(state.loss) <= self.next_estimate_loss:
            return True
        settles = norm(state.velocity) <= self.next_estimate_speed and not loses_all(state)
        return settles or self.work_of_steps >= self.next_estimate_work

    def _forecast(self) -> float:
        """Return a forecast of all work, where one can be made; else 0."""
        is_new = bool(self.decades) and self.decades[-1].time == self.time
        if self.work_of_steps < EARLY * self.budget.most or not is_new:
            return 0.0
        stopping = self.options.search.stopping * self.rtol
        return forecast_by_moves(self.decades, stopping / SHARPNESS_SLOPE)

    def _sample_decade(self, state: FlowState) -> None:
        time = float(state.time)
        if time > 0 and not (self.decades and time < 10 * self.decades[-1].time):
            self._renew_bound(state.w)
            self.decades.append(
                DecadeSample(time, float(state.loss), self.bound, state.w, self.work_of_steps)
            )

    def _drifts(self, state: FlowState) -> bool:
        """Whether a flow that seems to be at rest has only become slow."""
        return is_drifting(self.decades, state, self._size(state.w))

    def _limit_at_rest(self, state: FlowState) -> Limit:
        if self._drifts(state):
            return self.failed_limit(Status.NO_MINIMISER_FOUND)
        record = self._step_record((Endpoint(len(self.steps), None, 0.0, state.w),), 0.0)
        pairs = self._sharpness_at(state.w)
        value = abs(float(pairs.values[0]))
        # A minimum with less curvature than the inverse of the time is approached algebraically,
        # unless the flow has begun next to it.
        near = float(jnp.finfo(state.w.dtype).eps) ** 0.5 * self._size(state.w)
        is_far = distance(state.w, self.origin) > near
        error = value if is_far and float(state.time) * value < ALGEBRAIC_DECAY else 0.0
        limit = self._limit(state.w, float(state.loss), pairs, error, record)
        return self._classified(limit, state) or replace(limit, status=Status.SADDLE)

    def _renew_bound(self, w: Array) -> None:
        if not np.isfinite(w).all():
            self.bound = nan
            return
        pairs = self._eigenpairs(w, self.options.bound.tolerance, self.eigenvector, 200)
        self.bound = float(pairs.values[0] + pairs.residuals[0])
        self.work_since_bound = 0.0
        if isfinite(self.bound):
            self.eigenvector = pairs.vectors[:, 0]
        self.budget.spend(COST.hessian_product * pairs.matvecs)

    def _advance(self, state: FlowState, tolerance: float) -> FlowState:
        t_end = min(self.t_end, float(state.time) + self._longest_step(self._positive_bound()))
        trial = self._trial(state, tolerance, t_end)
        self.count_steps(trial.gradients, trial.state.w, is_bound_stale=not trial.taken)
        return trial.state

    def _trial(self, state: FlowState, tolerance: float, t_end: float) -> Trial:
        size, step = self._scale(state), float(state.step)
        bound, moved = self._positive_bound(), step * norm(state.velocity)
        left = self.estimates[-1].limit.length if self.estimates else inf
        allowed = self.options.errors.allowed(tolerance, size, step * bound, moved, left)
        atol = max(allowed, self._rounding_of(state.w))
        return trial_step(self.problem, state, bound, atol, t_end, self.options.control)

    def _positive_bound(self) -> float:
        """Return a bound for steps: any positive one will do where nothing curves upwards."""
        least: float = float(jnp.finfo(self.origin.dtype).tiny) ** 0.5
        return self.options.bound.margin * max(self.bound, least)

    def _longest_step(self, bound: float) -> float:
        """Return the length of a step that takes all the work that is left."""
        return length_of(self.budget.left) / bound

    def count_work(self, work: float) -> None:
        """Count the work of steps."""
        self.work_of_steps += work
        self.budget.spend(work)

    def count_steps(self, work: float, w: Array, is_bound_stale: bool) -> None:
        """Count the work of steps that ended at `w`, and renew the spectral bound when due."""
        self.work_since_bound += work
        self.count_work(work)
        if self.work_since_bound > self.options.bound.lifetime or is_bound_stale:
            self._renew_bound(w)

    def _rounding_of(self, w: Array) -> float:
        """Return the error of a step that rounding alone may make."""
        return ROUNDING * float(jnp.finfo(w.dtype).eps) * norm(w)

    def _scale(self, state: FlowState) -> float:
        """Return the size of the parameters as far as they take part: errors are relative to it."""
        speed = norm(state.velocity)
        way = distance(state.w, self.origin) + speed / max(abs(self.bound), 1e-300)
        return min(
            max(norm(state.w), float(state.step) * speed), self.options.errors.largest_size * way
        )

    def _size(self, w: Array) -> float:
        return max(norm(w), norm(self.origin))

    def _is_at_rest(self, state: FlowState) -> bool:
        speed, time = norm(state.velocity), float(state.time)
        size = self._size(state.w)
        # At the rate of the stiffest mode, or of an algebraic decay, nothing is left to go.
        rate = max(abs(self.bound), 1 / time if time > 0 else 0.0)
        return speed <= float(jnp.finfo(state.w.dtype).eps) * size * rate

    def _sharpness_at(self, w: Array) -> Eigenpairs:
        eps = float(jnp.finfo(w.dtype).eps)
        tol = max(0.05 * self.rtol, 20 * eps)
        pairs = self._eigenpairs(w, tol, None, 2000)  # cold: nothing can have overtaken
        self.budget.spend(COST.hessian_product * pairs.matvecs)
        return pairs

    def _eigenpairs(self, w: Array, tol: float, start: Array | None, most: int) -> Eigenpairs:
        most = min(most, int(self.budget.left / COST.hessian_product))
        return top_eigenpairs(self.problem, w, tol=tol, start=start, max_products=most)

    def _limit(
        self, w: Array, loss: float, top: Eigenpairs, error: float, record: StepRecord | None = None
    ) -> Limit:
        error += float(top.residuals[0]) if top.converged else inf
        found = float(top.values[0]), error, loss, top.vectors[:, 0]
        local_errors = 0.0 if self.state is None else float(self.state.errors)
        return Limit(w, *found, step_record=record, local_errors=local_errors)

    def _step_record(
        self, endpoints: tuple[Endpoint, ...], stopping: float, *further: tuple[float, float]
    ) -> StepRecord:
        lengths, bounds = np.asarray([*self.steps, *further]).reshape(-1, 2).T
        work = self.work_of_steps / max(lengths.size, 1)
        return StepRecord(self.steps_again, lengths, bounds, endpoints, stopping, work)

    def _estimate_limit(self, state: FlowState) -> Limit | None:
        limit, solver, work = self._linearize(state)
        pairs = self._sharpness_at(limit.w) if self._is_useful(limit) else None
        at = float(state.time), len(self.steps)
        estimate = LimitEstimate(*at, solver, work, limit, float(state.loss), pairs)
        self.next_estimate_loss = estimate.next_estimate_loss
        search = self.options.search
        self.next_estimate_work = 2 * self.work_of_steps + search.first_work
        self.next_estimate_speed = search.slower * norm(state.velocity)
        if pairs is not None:
            self.estimates.append(estimate)
        return None

    @property
    def _useful_estimates(self) -> list[LimitEstimate]:
        return [one for one in self.estimates if one.pairs is not None]

    def _limit_at(self, state: FlowState, estimate: LimitEstimate) -> Limit | None:
        """Return the stationary point at an estimate, unless the sharpness there differs."""
        end = stationary_point_near(
            *(self.problem, estimate.limit, estimate.solver, estimate.sharpness, self.rtol),
            min(self.options.search.endpoint_share * self.work_of_steps, self.budget.left),
            self.budget.spend,
        )
        if end is None:
            return None
        pairs = self._sharpness_at(end.w)
        change = abs(float(pairs.values[0]) - estimate.sharpness)
        error = max(self._error_of(estimate), change)
        if not error <= self._tolerated(estimate, self.options.search.stopping):
            return None
        return self._limit_by_estimate(state, estimate, end, pairs, error)

    def _limit_by_estimate(
        self,
        state: FlowState,
        estimate: LimitEstimate,
        end: LinearizedLimit,
        pairs: Eigenpairs,
        error: float,
    ) -> Limit | None:
        earlier = self._useful_estimates[-2]
        endpoints = (estimate.endpoint(), earlier.endpoint())
        record = self._step_record(endpoints, estimate.error_ratio(earlier))
        return self._classified(self._limit(end.w, float(end.loss), pairs, error, record), state)

    def _classified(self, limit: Limit, state: FlowState) -> Limit | None:
        """Return the limit, as a saddle if it is one; `None` if the flow will leave that saddle.

        A least-squares loss of about zero is a global minimum, and costs nothing to recognise.
        """
        scale = abs(limit.sharpness) * norm(limit.w) ** 2
        if self.problem.is_least_squares and limit.loss <= 1e-6 * scale:
            return limit
        most = int(self.budget.left / COST.hessian_product)
        lowest = lowest_curvature(self.problem, limit.w, limit.sharpness, most)
        self.budget.spend(COST.hessian_product * lowest.products)
        if not lowest.is_downwards:
            return limit
        if leaves_saddle(lowest, state.velocity, self._size(limit.w)):
            return None
        return replace(limit, status=Status.SADDLE)

    def one_sided_range(self, w: Array) -> SharpnessRange | None:
        """Return the spread of the sharpness beside `w`, where gradient or curvature jump there."""
        distance, work = nearest_jump(self.problem, w)
        self.budget.spend(work)
        if distance == inf:
            return None
        spread = one_sided_sharpness(self.problem, w, distance, ONE_SIDED_TOLERANCE)
        self.budget.spend(spread.work)
        return spread

    def slope_of_sharpness(self, limit: Limit) -> float:
        """Return by how much the sharpness is guessed to change from endpoint to endpoint.

        Per distance, among the endpoints beside `limit` that small errors of the way may lead to.
        """
        size = self._size(limit.w)
        return SHARPNESS_SLOPE * abs(limit.sharpness) / size if size > 0 else 0.0

    def _tolerated(self, estimate: LimitEstimate, part: float) -> float:
        return part * self.rtol * abs(estimate.sharpness)

    def _is_useful(self, limit: LinearizedLimit) -> bool:
        return limit.is_useful

    def _linearize(self, state: FlowState) -> tuple[LinearizedLimit, LinearizedSolver, float]:
        tolerance, search = min(0.1, 800 * self.rtol), self.options.search
        affordable = search.least_iterations + 0.5 * search.share * self.work_of_steps
        by_residuals = self.problem.is_least_squares and loses_all(state)
        if by_residuals and self.kernel_inverse is None:
            self.kernel_inverse = factor_kernel(self.problem, state.w)
            self.budget.spend(kernel_cost(self.kernel_inverse))
        solver = LinearizedSolver(by_residuals, self.kernel_inverse if by_residuals else None)
        within_budget = self.budget.left / solver.work_of_iteration
        most = int(min(affordable, search.most_iterations, within_budget))
        limit = solver.limit(
            self.problem, state.w, tolerance if by_residuals else tolerance / 10, most
        )
        work = solver.work_of(limit)
        self.budget.spend(work)
        return limit, replace(solver, iterations=limit.iterations), work
