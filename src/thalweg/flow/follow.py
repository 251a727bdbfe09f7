"""Follow the flow at one tolerance until the sharpness at its limit has settled."""

from dataclasses import dataclass, replace
from math import inf, isfinite, nan
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from thalweg.curvature import Eigenpairs, top_eigenpairs
from thalweg.flow.course import Course, Landing, Step
from thalweg.flow.endpoint import polished
from thalweg.flow.failing import falls_without_bound, what_is_not_finite
from thalweg.flow.finish import Finish, LinearLimit
from thalweg.flow.look import Limit, Look
from thalweg.flow.meter import Account
from thalweg.flow.rkc import length_of
from thalweg.flow.runaway import Mark, runs_away
from thalweg.flow.saddle import leaves, lowest_curvature
from thalweg.flow.segment import FlowState, advance, one_step, start
from thalweg.flow.sides import Spread, nearest_jump, spread_beside
from thalweg.flow.solution import Status
from thalweg.problems import COST, FlatProblem

BOUND_TOLERANCE = 0.03  # relative residual of the eigenvalue behind the spectral bound
BOUND_MARGIN = 1.06
BOUND_WORK = 300.0  # work of steps after which the spectral bound is renewed
STOPPING = 0.4  # of rtol: the error that stopping early may leave
FIRST_LOOK_LOSS, FIRST_LOOK_WORK = 2e-3, 1800.0  # the loss, relative, or the work of the first look
LOOK_SHARE = 0.2  # of the work of the steps so far: what one look ahead to the limit may cost
OF_WHAT_IS_LEFT = 0.3  # of the way to the limit, the longest local error that a step may make
FEWEST_ITERATIONS, MOST_ITERATIONS = 15, 5000  # of the linear solve of a look
ALGEBRAIC = 10.0  # sharpness times time: more where a flow has come to rest exponentially
PART = 20.0  # how many times the way so far the size is at which errors are measured, at most
SIDES_TOLERANCE = 1e-5  # of the sharpness on each side of a limit
DRIFT = 1e-3  # of the size of w: by which a flow at rest would move in as much time again
APART = 0.25  # of the relative distance of two endpoints: a difference of their sharpness
POLISH_SHARE = 0.5  # of the work of the steps so far: what it may cost to find the endpoint


@dataclass(frozen=True)
class Standing:
    """Where a pursuit stands between two steps: all that it takes to go on, bit for bit.

    The fields are those of `Pursuit`; `steps` as an array, shape `(N, 2)`; `spent` is all its work.
    """

    spent: float
    state: FlowState
    eigenvector: Array | None
    bound: float
    work_since_bound: float
    work_of_steps: float
    next_look_loss: float
    next_look_work: float
    remaining: float
    growth: float
    steps: NDArray[np.float64]
    useful_looks: list[Look]
    marks: list[Mark]


_SCALARS = (
    *("eigenvector", "bound", "work_since_bound", "work_of_steps"),
    *("next_look_loss", "next_look_work", "remaining", "growth"),
)
_LISTS = ("steps", "useful_looks", "marks")  # which only grow


class Pursuit:
    """A flow being followed: its spectral bound, and its looks ahead to the limit.

    Local errors are kept proportional to the length of a step (an error per unit step): the short
    steps of the beginning cost little, and errors made there last as long as any. On a network of
    tanh units this halved the error at equal work, against equal errors in all steps.
    """

    step: Step = staticmethod(one_step)
    remaining = inf  # the distance left to go, and the logarithm of the growth of perturbations,
    growth = 0.0  # where the method knows

    def __init__(
        self,
        problem: FlatProblem,
        w: Array,
        rtol: float,
        meter: Account,
        kernel_inverse: Array | None,
        eigenvector: Array | None,
    ):
        self.problem, self.rtol, self.meter = problem, rtol, meter
        self.steps: list[tuple[float, float]] = []  # taken: their lengths, and bounds relied on
        self.kernel_inverse = kernel_inverse
        self.origin, self.eigenvector = w, eigenvector
        self.bound = self.work_since_bound = 0.0
        self.work_of_steps = 0.0
        self.useful_looks: list[Look] = []
        self.next_look_loss, self.next_look_work = -inf, FIRST_LOOK_WORK
        # Not infinity, which JAX's debugging switches would take for a mistake.
        self.forever = self.t_end = float(jnp.finfo(w.dtype).max)
        self.marks: list[Mark] = []
        self.state: FlowState | None = None
        self._mark: dict[str, Any] | None = None

    @property
    def time(self) -> float:
        """How far the flow has been followed."""
        return 0.0 if self.state is None else float(self.state.time)

    def standing(self) -> Standing | None:
        """Return where the pursuit stood before its last step; may be called at any time."""
        if (mark := self._mark) is None:
            return None
        steps, looks, marks = (getattr(self, name)[: mark[name]] for name in _LISTS)
        rows = np.asarray(steps, float).reshape(-1, 2)
        return Standing(**(mark | {"steps": rows, "useful_looks": looks, "marks": marks}))

    def restore(self, standing: Standing) -> None:
        """Stand where an earlier pursuit of the same flow stood."""
        self.state, self.meter.spent = standing.state, standing.spent
        for name in _SCALARS:
            setattr(self, name, getattr(standing, name))
        self.steps = [(length, bound) for length, bound in standing.steps.tolist()]
        self.useful_looks, self.marks = list(standing.useful_looks), list(standing.marks)
        self._set_mark(standing.state)

    def settle(self, tolerance: float) -> Limit:
        """Follow the flow until it settles, from where it stands.

        The local error of a step `h` is kept to `tolerance · h λ`, relative to the size of `w`.
        """
        if self.state is None and not self._begin():
            return self.unsettled(what_is_not_finite(self.problem, self.origin))
        state = self.state
        assert state is not None
        while True:
            self.state = state
            self._set_mark(state)
            ended = self._ended(state)
            if ended is not None:
                return ended
            bound = BOUND_MARGIN * max(self.bound, 0.0)
            state = self._advance(state, tolerance)
            if (length := float(state.time - self.state.time)) > 0:
                self.steps.append((length, bound))
            self.meter.note(float(state.time), float(state.loss))

    def _begin(self) -> bool:
        """Find the first state; return whether it could be found."""
        self._renew_bound(self.origin)
        if not isfinite(self.bound):
            return False
        step = 0.5 / self.bound if self.bound > 0 else 1.0
        self.state = start(self.problem, self.origin, jnp.asarray(step, self.origin.dtype))
        self.meter.spend(COST.gradient)
        self.next_look_loss = FIRST_LOOK_LOSS * float(self.state.loss)
        return True

    def _set_mark(self, state: FlowState) -> None:
        mark = {name: getattr(self, name) for name in _SCALARS}
        counts = {name: len(getattr(self, name)) for name in _LISTS}
        self._mark = {"spent": self.meter.spent, "state": state} | mark | counts

    def unsettled(self, status: Status) -> Limit:
        """Return where the flow stands, as a limit that was not reached for the given reason."""
        w = self.origin if self.state is None else self.state.w
        loss = float(self.problem(w))
        return Limit(w, self.bound, inf, loss, self.eigenvector, status=status)

    def _ended(self, state: FlowState) -> Limit | None:
        if not (isfinite(float(state.loss)) and isfinite(self.bound)):
            return self.unsettled(what_is_not_finite(self.problem, state.w))
        if falls_without_bound(self.marks, float(state.loss)):
            return self.unsettled(Status.UNBOUNDED)
        if self._is_at_rest(state):
            return self._rested(state)
        if float(state.loss) <= self.next_look_loss or self.work_of_steps >= self.next_look_work:
            settled = self._look_ahead(state)
            if settled is not None:
                return settled
        self._mark_decade(state)
        return self.unsettled(Status.NO_MINIMISER_FOUND) if runs_away(self.marks) else None

    def _mark_decade(self, state: FlowState) -> None:
        time = float(state.time)
        if time > 0 and not (self.marks and time < 10 * self.marks[-1].time):
            self._renew_bound(state.w)
            self.marks.append(Mark(time, float(state.loss), self.bound, state.w))

    def _rested(self, state: FlowState) -> Limit:
        if self._still_drifts(state):
            return self.unsettled(Status.NO_MINIMISER_FOUND)
        course = self._course((Landing(len(self.steps), None, 0.0, state.w),), 0.0)
        pairs = self._sharpness_at(state.w)
        value = abs(float(pairs.values[0]))
        # A minimum with less curvature than the inverse of the time is approached algebraically.
        error = value if 0 < float(state.time) * value < ALGEBRAIC else 0.0
        limit = self._limit(state.w, float(state.loss), pairs, error, course)
        return self._minimum(limit, state) or replace(limit, status=Status.SADDLE)

    def _still_drifts(self, state: FlowState) -> bool:
        """Whether a flow as slow as rounding has been moving, and would, in as much time again."""
        before = [mark.w for mark in self.marks if mark.time < 0.5 * float(state.time)]
        if not before:
            return False
        moved, would = _norm(state.w - before[-1]), float(state.time) * _norm(state.velocity)
        # What rounding alone would seem to lead to has not been gone.
        return min(moved, would) > DRIFT * self._size(state.w) and moved > 0.5 * would

    def _renew_bound(self, w: Array) -> None:
        if not bool(jnp.all(jnp.isfinite(w))):
            self.bound = nan
            return
        pairs = self._eigenpairs(w, BOUND_TOLERANCE, self.eigenvector, 200)
        self.bound = float(pairs.values[0] + pairs.residuals[0])
        self.work_since_bound = 0.0
        if isfinite(self.bound):
            self.eigenvector = pairs.vectors[:, 0]
        self.meter.spend(COST.hessian_product * pairs.matvecs)

    def _advance(self, state: FlowState, tolerance: float) -> FlowState:
        # Where nothing curves upwards there is no stability limit: any positive bound will do.
        least = float(jnp.finfo(state.w.dtype).tiny) ** 0.5
        bound = BOUND_MARGIN * max(self.bound, least)
        size = self._scale(state)
        atol = tolerance * size * max(float(state.step) * bound, 10.0)
        if self.useful_looks:  # errors as long as what is left to go would keep it from settling
            left = self.useful_looks[-1].limit.length
            atol = min(atol, max(OF_WHAT_IS_LEFT * left, tolerance * size))
        t_end = min(self.t_end, float(state.time) + self._longest(bound))
        trial = advance(self.problem, state, bound, atol, t_end)
        self.count_steps(trial.gradients, trial.state.w, is_bound_stale=not trial.taken)
        return trial.state

    def _longest(self, bound: float) -> float:
        """Return the length of a step that takes all the work that is left."""
        return length_of(self.meter.left) / bound

    def count_work(self, work: float) -> None:
        """Count the work of steps."""
        self.work_of_steps += work
        self.meter.spend(work)

    def count_steps(self, work: float, w: Array, is_bound_stale: bool) -> None:
        """Count the work of steps that ended at `w`, and renew the spectral bound when due."""
        self.work_since_bound += work
        self.count_work(work)
        if self.work_since_bound > BOUND_WORK or is_bound_stale:
            self._renew_bound(w)

    def _scale(self, state: FlowState) -> float:
        """Return the size of the parameters as far as they take part: errors are relative to it.

        An offset, or a parameter that the loss hardly knows, does not move.
        """
        speed = _norm(state.velocity)
        way = _norm(state.w - self.origin) + speed / max(abs(self.bound), 1e-300)
        return min(max(_norm(state.w), float(state.step) * speed), PART * way)

    def _size(self, w: Array) -> float:
        return max(_norm(w), _norm(self.origin))

    def _is_at_rest(self, state: FlowState) -> bool:
        speed, time = _norm(state.velocity), float(state.time)
        size = self._size(state.w)
        # At the rate of the stiffest mode, or of an algebraic decay, nothing is left to go.
        rate = max(abs(self.bound), 1 / time if time > 0 else 0.0)
        return speed <= float(jnp.finfo(state.w.dtype).eps) * size * rate

    def _sharpness_at(self, w: Array) -> Eigenpairs:
        eps = float(jnp.finfo(w.dtype).eps)
        tol = max(0.05 * self.rtol, 20 * eps)
        pairs = self._eigenpairs(w, tol, None, 2000)  # cold: nothing can have overtaken
        self.meter.spend(COST.hessian_product * pairs.matvecs)
        return pairs

    def _eigenpairs(self, w: Array, tol: float, start: Array | None, most: int) -> Eigenpairs:
        most = min(most, int(self.meter.left / COST.hessian_product))
        return top_eigenpairs(self.problem, w, tol=tol, start=start, max_products=most)

    def _limit(
        self, w: Array, loss: float, pairs: Eigenpairs, error: float, course: Course | None = None
    ) -> Limit:
        error += float(pairs.residuals[0]) if pairs.converged else inf
        value = float(pairs.values[0])
        return Limit(w, value, error, loss, pairs.vectors[:, 0], course=course)

    def _course(self, landings: tuple[Landing, ...], stopping: float) -> Course:
        lengths, bounds = np.asarray(self.steps).reshape(-1, 2).T
        work = self.work_of_steps / max(lengths.size, 1)
        return Course(self.step, lengths, bounds, landings, stopping, work)

    def _look_ahead(self, state: FlowState) -> Limit | None:
        limit, finish, work = self._linear_limit(state)
        pairs = self._sharpness_at(limit.w) if self._is_useful(limit) else None
        look = Look(len(self.steps), finish, work, limit, float(state.loss), pairs)
        self.next_look_loss = look.next_loss
        self.next_look_work = 2 * self.work_of_steps + FIRST_LOOK_WORK
        if pairs is None:
            return None
        error = max((look.error_seen_from(earlier) for earlier in self.useful_looks), default=inf)
        self.useful_looks.append(look)
        if error > self._allowed(look.sharpness):
            return None
        return self._arrived(state, look, error)

    def _arrived(self, state: FlowState, look: Look, error: float) -> Limit | None:
        """Return the limit that a look leads to, if nothing is found there that leads on."""
        end = polished(
            *(self.problem, look.limit, look.finish, look.sharpness),
            *(min(POLISH_SHARE * self.work_of_steps, self.meter.left), self.meter.spend),
        )
        if end is None:
            return None
        pairs = self._sharpness_at(end.w)
        error = max(error, abs(float(pairs.values[0]) - look.sharpness))
        if not error <= self._allowed(look.sharpness):
            return None
        earlier = self.useful_looks[-2]
        landings = (look.landing(), earlier.landing())
        course = self._course(landings, look.part_of_change_since(earlier))
        return self._minimum(self._limit(end.w, float(end.loss), pairs, error, course), state)

    def _minimum(self, limit: Limit, state: FlowState) -> Limit | None:
        """Return the limit, as a saddle if it is one; `None` if the flow will leave that saddle.

        A least-squares loss of about zero is a global minimum, and costs nothing to recognise.
        """
        scale = abs(limit.sharpness) * float(jnp.vdot(limit.w, limit.w))
        if self.problem.is_least_squares and limit.loss <= 1e-6 * scale:
            return limit
        most = int(self.meter.left / COST.hessian_product)
        lowest = lowest_curvature(self.problem, limit.w, limit.sharpness, most)
        self.meter.spend(COST.hessian_product * lowest.products)
        if not lowest.is_downwards:
            return limit
        if leaves(lowest, state.velocity, self._size(limit.w)):
            return None
        return replace(limit, status=Status.SADDLE)

    def sides_of(self, w: Array) -> Spread | None:
        """Return the spread of the sharpness beside `w`, where gradient or curvature jump there."""
        aside, work = nearest_jump(self.problem, w)
        self.meter.spend(work)
        if aside == inf:
            return None
        spread = spread_beside(self.problem, w, aside, SIDES_TOLERANCE)
        self.meter.spend(spread.work)
        return spread

    def slope_of_sharpness(self, limit: Limit) -> float:
        """Return by how much the sharpness is guessed to change from endpoint to endpoint.

        Per distance, among the endpoints beside `limit` that small errors of the way may lead to.
        """
        size = self._size(limit.w)
        return APART * abs(limit.sharpness) / size if size > 0 else 0.0

    def _allowed(self, sharpness: float) -> float:
        return STOPPING * self.rtol * abs(sharpness)

    def _is_useful(self, limit: LinearLimit) -> bool:
        return limit.is_useful

    def _linear_limit(self, state: FlowState) -> tuple[LinearLimit, Finish, float]:
        tolerance = min(0.1, 800 * self.rtol)
        affordable = FEWEST_ITERATIONS + 0.5 * LOOK_SHARE * self.work_of_steps
        # Where zero loss lies ahead, the loss falls at least like a power of time.
        speed = _norm(state.velocity)
        falls = float(state.time) * speed**2 > 0.1 * float(state.loss) or float(state.time) == 0
        by_residuals = self.problem.is_least_squares and falls
        finish = Finish(by_residuals, self.kernel_inverse if by_residuals else None)
        most = int(min(affordable, MOST_ITERATIONS, self.meter.left / finish.work_of_iteration))
        limit = finish.limit(
            self.problem, state.w, tolerance if by_residuals else tolerance / 10, most
        )
        work = finish.work_of(limit)
        self.meter.spend(work)
        return limit, replace(finish, iterations=limit.iterations), work


def _norm(v: Array) -> float:
    return float(jnp.linalg.norm(v))
