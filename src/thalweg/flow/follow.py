"""Follow the flow at one tolerance until the sharpness at its limit has settled."""

from dataclasses import dataclass
from itertools import pairwise
from math import inf, isfinite, nan
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from thalweg.curvature import Eigenpairs, top_eigenpairs
from thalweg.flow.course import Course, Landing, Step
from thalweg.flow.failing import falls_without_bound, what_is_not_finite
from thalweg.flow.finish import Finish, LinearLimit, gauss_newton_limit, newton_limit
from thalweg.flow.meter import Account
from thalweg.flow.saddle import curves_downwards
from thalweg.flow.segment import FlowState, advance, one_step, start
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


@dataclass(frozen=True)
class Limit:
    """The end of a flow as followed at one tolerance.

    `error` bounds what is missing from stopping early and from the eigensolver, not the error of
    the integration. `status` is `None` where the flow settled; then `course` says how.
    """

    w: Array
    sharpness: float
    error: float
    loss: float
    eigenvector: Array | None
    status: Status | None = None
    course: Course | None = None


@dataclass(frozen=True)
class Look:
    """A look ahead to the limit of the linearised flow, after so many steps of the flow.

    `finish` repeats it from another point, with as many iterations.
    """

    after: int
    finish: Finish
    work: float
    limit: LinearLimit
    loss: float
    pairs: Eigenpairs | None

    @property
    def sharpness(self) -> float:
        """The sharpness at the limit, NaN where it was not computed."""
        return float(self.pairs.values[0]) if self.pairs is not None else nan

    def error_seen_from(self, earlier: "Look") -> float:
        """Return an estimate of the error of this look's sharpness, from an earlier look.

        A change that is small by accident is why all earlier looks are asked. Two looks from
        nearly the same point do not tell that either is right (infinity).
        """
        part = self.part_of_change_since(earlier)
        return part * abs(self.sharpness - earlier.sharpness) if part < inf else inf

    def part_of_change_since(self, earlier: "Look") -> float:
        """Return the error in units of the change since an earlier look.

        The error of a linear limit is about quadratic in its length.
        """
        length = float(self.limit.length)
        ratio = (float(earlier.limit.length) / length) ** 2 if length > 0 else inf
        return min(1.0, 2.0 / (ratio - 1)) if ratio >= 2 else inf

    def landing(self) -> Landing:
        """Return where this look landed."""
        return Landing(self.after, self.finish, self.work, self.limit.w)

    @property
    def next_loss(self) -> float:
        """The loss at which the next look is worth its price.

        A misfit falls like the length of the linear limit, about as the root of the loss.
        """
        if self.pairs is not None:
            return 0.2 * self.loss
        misfit = float(self.limit.misfit)
        if not (bool(self.limit.solved) and isfinite(misfit)):
            return 0.12 * self.loss
        return self.loss * min(0.2, max(1e-3, (0.4 / misfit) ** 2))


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
    steps: NDArray[np.float64]
    useful_looks: list[Look]
    marks: list[tuple[float, float, float, Array]]


_SCALARS = (
    *("eigenvector", "bound", "work_since_bound", "work_of_steps"),
    *("next_look_loss", "next_look_work", "remaining"),
)
_LISTS = ("steps", "useful_looks", "marks")  # which only grow


class Pursuit:
    """A flow being followed: its spectral bound, and its looks ahead to the limit.

    Local errors are kept proportional to the length of a step (an error per unit step): the short
    steps of the beginning cost little, and errors made there last as long as any. On a network of
    tanh units this halved the error at equal work, against equal errors in all steps.
    """

    step: Step = staticmethod(one_step)
    remaining = inf  # the distance left to go, where the method knows

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
        self.marks: list[tuple[float, float, float, Array]] = []
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

    def ends_in_saddle(self, limit: Limit) -> bool:
        """Return whether the loss curves downwards at the limit.

        A least-squares loss of about zero is a global minimum, and costs nothing to recognise.
        """
        scale = abs(limit.sharpness) * float(jnp.vdot(limit.w, limit.w))
        if self.problem.is_least_squares and limit.loss <= 1e-6 * scale:
            return False
        downwards, products = curves_downwards(self.problem, limit.w, limit.sharpness)
        self.meter.spend(COST.hessian_product * products)
        return downwards

    def _ended(self, state: FlowState) -> Limit | None:
        if not (isfinite(float(state.loss)) and isfinite(self.bound)):
            return self.unsettled(what_is_not_finite(self.problem, state.w))
        if falls_without_bound(self.marks, float(state.loss)):
            return self.unsettled(Status.UNBOUNDED)
        if self._is_at_rest(state):
            course = self._course((Landing(len(self.steps), None, 0.0, state.w),), 0.0)
            return self._limit(state.w, float(state.loss), self._sharpness_at(state.w), 0.0, course)
        if float(state.loss) <= self.next_look_loss or self.work_of_steps >= self.next_look_work:
            settled = self._look_ahead(state)
            if settled is not None:
                return settled
        return self.unsettled(Status.NO_MINIMISER_FOUND) if self._runs_away(state) else None

    def _renew_bound(self, w: Array) -> None:
        if not bool(jnp.all(jnp.isfinite(w))):
            self.bound = nan
            return
        pairs = top_eigenpairs(
            self.problem, w, tol=BOUND_TOLERANCE, start=self.eigenvector, max_products=200
        )
        self.meter.spend(COST.hessian_product * pairs.matvecs)
        self.bound = float(pairs.values[0] + pairs.residuals[0])
        self.work_since_bound = 0.0
        if isfinite(self.bound):
            self.eigenvector = pairs.vectors[:, 0]

    def _advance(self, state: FlowState, tolerance: float) -> FlowState:
        dtype = state.w.dtype
        # Where nothing curves upwards there is no stability limit: any positive bound will do.
        bound = BOUND_MARGIN * max(self.bound, float(jnp.finfo(dtype).tiny) ** 0.5)
        step = float(state.step)
        size = max(float(jnp.linalg.norm(state.w)), step * float(jnp.linalg.norm(state.velocity)))
        atol = tolerance * size * max(step * bound, 10.0)
        if self.useful_looks:  # errors as long as what is left to go would keep it from settling
            left = float(self.useful_looks[-1].limit.length)
            atol = min(atol, max(OF_WHAT_IS_LEFT * left, tolerance * size))
        segment = advance(
            self.problem,
            state,
            jnp.asarray(bound, dtype),
            jnp.asarray(atol, dtype),
            jnp.asarray(self.t_end, dtype),
        )
        work = float(segment.gradients) + COST.loss
        self.count_steps(work, segment.state.w, is_bound_stale=int(segment.rejected) > 0)
        return segment.state

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

    def _is_at_rest(self, state: FlowState) -> bool:
        speed, time = float(jnp.linalg.norm(state.velocity)), float(state.time)
        size = max(float(jnp.linalg.norm(state.w)), float(jnp.linalg.norm(self.origin)))
        # At the rate of the stiffest mode, or of an algebraic decay, nothing is left to go.
        rate = max(abs(self.bound), 1 / time if time > 0 else 0.0)
        return speed <= float(jnp.finfo(state.w.dtype).eps) * size * rate

    def _sharpness_at(self, w: Array) -> Eigenpairs:
        eps = float(jnp.finfo(w.dtype).eps)
        tol = max(0.05 * self.rtol, 20 * eps)
        pairs = top_eigenpairs(self.problem, w, tol=tol)  # cold: nothing can have overtaken
        self.meter.spend(COST.hessian_product * pairs.matvecs)
        return pairs

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
        if error > STOPPING * self.rtol * abs(look.sharpness):
            return None
        earlier = self.useful_looks[-2]
        landings = (look.landing(), earlier.landing())
        course = self._course(landings, look.part_of_change_since(earlier))
        return self._limit(limit.w, float(limit.loss), pairs, error, course)

    def _is_useful(self, limit: LinearLimit) -> bool:
        return limit.is_useful

    def _linear_limit(self, state: FlowState) -> tuple[LinearLimit, Finish, float]:
        dtype = state.w.dtype
        tolerance = min(0.1, 800 * self.rtol)
        affordable = FEWEST_ITERATIONS + 0.5 * LOOK_SHARE * self.work_of_steps
        # Where zero loss lies ahead, the loss falls at least like a power of time.
        speed = float(jnp.linalg.norm(state.velocity))
        falls = float(state.time) * speed**2 > 0.1 * float(state.loss) or float(state.time) == 0
        by_residuals = self.problem.is_least_squares and falls
        per_iteration = 2 * COST.jacobian_product if by_residuals else COST.hessian_product
        inverse = self.kernel_inverse if by_residuals else None
        most = jnp.asarray(int(min(affordable, MOST_ITERATIONS)))
        if by_residuals:
            relative = jnp.asarray(tolerance, dtype)
            limit = gauss_newton_limit(inverse, self.problem, state.w, relative, most)
        else:
            limit = newton_limit(self.problem, state.w, jnp.asarray(tolerance / 10, dtype), most)
        work = per_iteration * (float(limit.iterations) + 1) + 2 * COST.loss
        self.meter.spend(work)
        return limit, Finish(by_residuals, inverse, limit.iterations), work

    def _runs_away(self, state: FlowState) -> bool:
        """Whether the flow still moves as far per decade of time, while loss and curvature vanish.

        So it does along a direction in which the loss has no minimum, only an infimum: there
        parameters grow like the logarithm of time.
        """
        time = float(state.time)
        if time <= 0 or (self.marks and time < 10 * self.marks[-1][0]):
            return False
        self.marks.append((time, float(state.loss), self.bound, state.w))
        if len(self.marks) < 4:
            return False
        marks = self.marks[-4:]
        moves = [float(jnp.linalg.norm(y[3] - x[3])) for x, y in pairwise(marks)]
        vanishing = all(marks[-1][i] < 0.05 * marks[0][i] for i in (1, 2))
        return vanishing and moves[2] > 0.7 * moves[1] > 0.49 * moves[0]
