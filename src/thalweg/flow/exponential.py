"""Few residuals: exponential Runge–Kutta steps, whose cost does not depend on the stiffness.

Where the residuals are few, the stiff part of the flow can be known completely and solved exactly:
a step is then limited by how fast that part changes, not by its largest eigenvalue.
"""

from dataclasses import dataclass
from functools import cache, cached_property, partial
from math import factorial, inf, isfinite, nan
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.flow.diverging_flow import DRIFT
from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.integration_options import IntegrationOptions
from thalweg.flow.limit_estimate import Limit
from thalweg.flow.method import Request
from thalweg.flow.solution import FlowSolution
from thalweg.flow.step import FlowState, loss_and_velocity
from thalweg.flow.step_control import StepControl
from thalweg.flow.tolerance_pair import Ladder, TolerancePair, solve
from thalweg.flow.too_slow import EARLIEST, forecast_by_decades, forecast_by_pace
from thalweg.problems import COST, FlatProblem
from thalweg.problems.compiling import compiled
from thalweg.problems.programs import array_module, distance, norm

LADDER = Ladder(0.02, refinements=5)
CONTROL = StepControl(safety=0.9)
DISTANCE_LEFT = 1e-4  # of rtol: the relative distance left to go, at which the flow ends
OWN_SHARE = 0.3  # of the length of a step: its error, unless that is far below such a distance,
LEAST_ERROR = 0.1  # by this
HORIZON = 1e6  # in units of the time so far: the time in which no more than that is left to go
MOST_GROWTH = 20.0  # logarithm of the growth of perturbations in one step
TRIALS = 40  # of a step, each shorter than the one before
STEPS = 300.0  # expected, for choosing a method
MAX_WORK = 60.0  # of a linearization and a trial, beyond which this method is not considered
RESOLVED = 0.01  # of the inverse rounding unit: rates slower than the fastest by more are noise
RELATIVE_LOSS = 1e-2  # that the linear flow is to reach in the time that Stabilized is charged for
TERMS = 19  # of the series of φ functions at |z| < 1


class Vector(NamedTuple):
    """A vector `outer + lift(inner)`; `inner_of_outer` is the projection of `outer`."""

    outer: Any
    inner_of_outer: Any
    inner: Any


@dataclass(frozen=True)
class Linearization:
    """The flow `w' = -JᵀJ (w - w₀) + ...` around `w₀`, with `J Jᵀ = Q Λ Qᵀ` known.

    Inner coordinates are those of the range of `Jᵀ`, `lift(a) = Jᵀ Q a`. `velocity` is in inner
    coordinates, `rows` is `J`, `rotation` is `Q` and `rates` is the diagonal of `Λ`. Arrays are
    those of `array_module`.
    """

    w: Any
    velocity: Any
    rows: Any
    rotation: Any
    rates: Any

    def lift(self, inner: Any) -> Any:
        """Return the parameters' direction with these coordinates, shape `(p,)`."""
        return self.rows.T @ (self.rotation @ inner)

    def vector(self, outer: Any, inner: Any) -> Vector:
        """Return `outer + lift(inner)`."""
        return Vector(outer, self.rotation.T @ (self.rows @ outer), inner)

    def value(self, v: Vector) -> Any:
        """Return the vector, shape `(p,)`."""
        return v.outer + self.lift(v.inner)

    def matrix(self, v: Vector) -> Any:
        """Return `JᵀJ v` in inner coordinates."""
        return v.inner_of_outer + self.rates * v.inner

    def phi(self, h: float) -> list[Any]:
        """Return `φ_0, ..., φ_4` at `-h Λ`."""
        return phi_functions(-h * self.rates, 4)

    def combine(self, weights: dict[int, float], h: float, phi: list[Any], v: Vector) -> Vector:
        """Return `h Σ_j weights[j] φ_j(-h A) v`, where `phi` is that at `-h Λ`."""
        at_zero = h * sum(weight / factorial(j) for j, weight in weights.items())
        inner = sum(weight * phi[j] for j, weight in weights.items())
        beyond = sum(weight * phi[j + 1] for j, weight in weights.items())
        return Vector(
            at_zero * v.outer,
            at_zero * v.inner_of_outer,
            h * (inner * v.inner - h * beyond * v.inner_of_outer),
        )

    def linear_flow(self, h: float, phi: list[Any]) -> Vector:
        """Return `h φ_1(-h A) w'`: where the linear flow takes `w₀` in time `h`."""
        return Vector(0 * self.w, 0 * self.velocity, h * phi[1] * self.velocity)


def phi_functions(z: Any, last: int) -> list[Any]:
    """Return `φ_0 = exp, φ_1, ..., φ_last` at `z`, where `φ_{j+1}(z) = (φ_j(z) - 1/j!) / z`.

    Where `exp(z)` or its square would overflow, `z` is taken for the largest number that is safe.

    Examples
    --------
    >>> [round(float(f), 4) for f in phi_functions(np.array(0.0), 3)]
    [1.0, 1.0, 0.5, 0.1667]
    """
    xp = array_module(z)
    z = xp.minimum(z, 0.4 * float(np.log(np.finfo(z.dtype).max)))
    is_small = xp.abs(z) < 1
    small, large = xp.where(is_small, z, 0), xp.where(is_small, 1, z)
    of, by_recursion = [xp.exp(z)], xp.exp(large)
    series = xp.zeros((last, *z.shape), z.dtype)  # of all functions at once
    for terms in _series(last, z.dtype):
        series = series * small[None] + terms.reshape(-1, *[1] * z.ndim)
    for j in range(1, last + 1):
        by_recursion = (by_recursion - 1 / factorial(j - 1)) / large
        of.append(xp.where(is_small, series[j - 1], by_recursion))
    return of


@cache
def _series(last: int, dtype: Any) -> list[Any]:
    """Return the coefficients of `φ_1, ..., φ_last` for each power, the highest one first."""
    of_powers = reversed(range(TERMS))
    return [np.array([1 / factorial(j + k) for j in range(1, last + 1)], dtype) for k in of_powers]


def _add(*vectors: Vector) -> Vector:
    return Vector(*(sum(parts) for parts in zip(*vectors, strict=True)))


class StepWork(NamedTuple):
    """Work of a linearization and of a trial step, in units of one gradient."""

    linearization: float
    trial: float


def step_work(problem: FlatProblem, w: Array) -> StepWork:
    """Return the work of `linearize` and of `krogstad`, by counting operations.

    A gradient of `n` samples takes about `6 n p` of them. With `m` residuals, `o` of each sample,
    `J` costs `o` gradients (or `m` products, where samples are not known to be independent),
    `J Jᵀ` takes `2 m² p` operations, its eigendecomposition `9 m³`. A trial takes three gradients
    and eight products by the matrix `J`.
    """
    m, samples = problem.residual_count(w), problem.independent_samples(w)
    outputs = m / (samples or m)
    rows = outputs if samples else m * COST.jacobian_product
    linearization = COST.gradient + rows + outputs * (m / 3 + 1.5 * m**2 / w.size)
    return StepWork(linearization, 3 * COST.gradient + 8 * outputs / 3)


def linearize(problem: FlatProblem, w: Array) -> Linearization:
    """Return the flow around `w`."""
    xp, (rows, residuals) = array_module(w), _jacobian_matrix(problem, w)
    rows = xp.asarray(rows)
    rates, rotation = eigh(rows @ rows.T)
    velocity = -(rotation.T @ xp.asarray(residuals))
    return Linearization(xp.asarray(w), velocity, rows, rotation, xp.maximum(rates, 0))


@partial(compiled, seldom_run=True)
def _jacobian_matrix(problem: FlatProblem, w: Array) -> tuple[Array, Array]:
    return problem.jacobian_matrix(w), problem.residuals(w)


def eigh(matrix: Any) -> tuple[Any, Any]:
    """Return eigenvalues and eigenvectors of a symmetric matrix, NaN where it is not finite."""
    xp = array_module(matrix)
    if not bool(xp.all(xp.isfinite(matrix))):
        return xp.full(len(matrix), nan, matrix.dtype), xp.full_like(matrix, nan)
    values, vectors = xp.linalg.eigh(matrix)
    return values, vectors


def krogstad(problem: FlatProblem, linear: Linearization, h: float) -> tuple[Array, float]:
    """Take one step of Krogstad's fourth-order method; return its end and an error estimate.

    The estimate is the norm of the difference to a second-order method that shares the stages.
    Costs three gradients. Source: S. Krogstad, J. Comput. Phys. 203 (2005), there ETDRK4-B.
    """
    xp, velocity = array_module(linear.w), linear.lift(linear.velocity)
    at_half, at_full = linear.phi(h / 2), linear.phi(h)

    def remainder(u: Vector) -> Vector:
        """Return what the linear flow leaves out of the velocity at `w + u`."""
        there = loss_and_velocity(problem, linear.w + linear.value(u))[1]
        return linear.vector(xp.asarray(there) - velocity, linear.matrix(u))

    half, full = linear.linear_flow(h / 2, at_half), linear.linear_flow(h, at_full)
    second = remainder(half)
    third = remainder(_add(half, linear.combine({2: 2.0}, h / 2, at_half, second)))
    fourth = remainder(_add(full, linear.combine({2: 2.0}, h, at_full, third)))
    correction = _add(
        linear.combine({2: 2.0, 3: -4.0}, h, at_full, _add(second, third)),
        linear.combine({2: -1.0, 3: 4.0}, h, at_full, fourth),
    )
    lower = linear.value(linear.combine({2: 1.0}, h, at_full, fourth))
    error = norm(linear.value(correction) - lower)
    return jnp.asarray(linear.w + linear.value(_add(full, correction))), error


def krogstad_steps(linearize: Any, problem: FlatProblem, w: Array, lengths: Any) -> Array:
    """Return where steps of the given lengths lead, each around what `linearize` returns."""
    for length in lengths:
        w = krogstad(problem, linearize(problem, w), float(length))[0]
    return w


class ExponentialStep(NamedTuple):
    """Where an exponential step ended, and how many trials it took."""

    state: FlowState
    trials: int


def exponential_step(
    problem: FlatProblem,
    linear: Linearization,
    state: FlowState,
    atol: float,
    least: float,
    t_end: float,
    control: StepControl,
) -> ExponentialStep:
    """Take one step from `state`, the longest of a shrinking sequence with a local error `≤ atol`.

    And no longer than a part of the step itself, unless it is below `least`: else steps could go to
    and fro at the end of a flow, and never end. Not beyond time `t_end`; the next step's length is
    proposed in the new state. `linear` is the flow around the state.
    """
    dtype, tiny = state.w.dtype, float(jnp.finfo(state.w.dtype).tiny)
    growing = max(-float(linear.rates.min()), tiny**0.5)
    proposal = min(float(state.step), t_end - float(state.time), MOST_GROWTH / growing)
    for trial in range(1, TRIALS + 1):  # noqa: B007 - how many it took
        h = float(np.asarray(proposal, dtype))
        w, error = krogstad(problem, linear, h)
        error = error if isfinite(error) else float(jnp.finfo(dtype).max)
        most = min(atol, max(OWN_SHARE * distance(w, state.w), least))
        proposal = h * control.factor(error / max(most, tiny))
        if error <= most:
            break
    loss, velocity = loss_and_velocity(problem, w)
    step = np.asarray(min(proposal, float(jnp.finfo(dtype).max)), dtype)
    time = np.asarray(float(state.time) + h, dtype)
    return ExponentialStep(FlowState(time, w, velocity, loss, step, state.errors), trial)


def exponential_steps(problem: FlatProblem, w: Array, lengths: Any, bounds: Any) -> Array:
    """Return where steps of the given lengths lead; bounds are not needed."""
    del bounds
    return krogstad_steps(linearize, problem, w, lengths)


class ExponentialIntegrator(FlowIntegrator):
    """Integrates by exponential steps, until next to nothing is left to go."""

    steps_again = staticmethod(exponential_steps)
    linearize = staticmethod(linearize)

    @cached_property
    def work(self) -> StepWork:
        """What a step costs: the same everywhere, but slow to find out."""
        return step_work(self.problem, self.origin)

    def _renew_bound(self, w: Array) -> None:
        self.bound = float(self.linearize(self.problem, w).rates.max())
        self.budget.spend(self.work.linearization)

    def _advance(self, state: FlowState, tolerance: float) -> FlowState:
        atol = max(tolerance * self._scale(state), _rounding(state))
        linear = self.linearize(self.problem, state.w)
        with np.errstate(all="ignore"):
            limits = atol, min(atol, LEAST_ERROR * self._near(state)), self.t_end
            step = exponential_step(self.problem, linear, state, *limits, self.options.control)
            self.bound, self.remaining = float(linear.rates.max()), _remaining(linear, state)
        self.count_work(self.work.linearization + step.trials * self.work.trial + COST.gradient)
        self._add_growth(linear, float(step.state.time - state.time))
        return step.state

    def _add_growth(self, linear: Linearization, time: float) -> None:
        """Add the growth of perturbations in a step: none, where no rate is negative."""

    def _is_at_rest(self, state: FlowState) -> bool:
        if self.remaining <= self._near(state):
            return True
        if not super()._is_at_rest(state):
            return False
        # A slow mode may have some way to go yet, at a speed below the rounding of stiffer ones.
        return self._drifts(state) or not super()._drifts(state)

    def _drifts(self, state: FlowState) -> bool:
        # By what rounding leaves of a velocity alone, a flow would seem to, after long enough.
        return self.remaining > DRIFT * self._size(state.w) and super()._drifts(state)

    def _near(self, state: FlowState) -> float:
        """Return a distance from the limit that is as good as none."""
        return max(DISTANCE_LEFT * self.rtol * self._scale(state), _rounding(state))

    def _estimate_limit(self, state: FlowState) -> Limit | None:
        return None  # the steps themselves reach the limit

    def _forecast(self) -> float:
        if not self.decades or self.work_of_steps < EARLIEST * self.budget.most:
            return 0.0
        pace = forecast_by_pace(self.decades[-1], self.time, self.work_of_steps)
        return max(pace, forecast_by_decades(self.decades))


def _rounding(state: FlowState) -> float:
    return float(jnp.finfo(state.w.dtype).eps) * norm(state.w)


def _remaining(linear: Linearization, state: FlowState) -> float:
    """Return how far the linear flow would go on, in a time far longer than that already spent."""
    tiny = float(jnp.finfo(state.w.dtype).tiny)
    horizon = HORIZON * (float(state.time) + 1 / max(float(linear.rates.max()), tiny**0.5))
    left = linear.lift(linear.linear_flow(horizon, linear.phi(horizon)).inner)
    return norm(left)


@partial(compiled, seldom_run=True)
def _product(problem: FlatProblem, w: Array) -> Array:
    return problem.jacobian(w)[1](w)


def _jacobian_error(problem: FlatProblem, linear: Linearization) -> float:
    """Return how far `jacobian_matrix` is from `J`, relatively, in the direction of `w`."""
    xp = array_module(linear.w)
    image = xp.asarray(_product(problem, jnp.asarray(linear.w)))
    size = norm(image)
    return norm(linear.rows @ linear.w - image) / size if size > 0 else inf


def _stiffness(linear: Linearization) -> float:
    """Return `λ T`, with `T` the time of the linear flow to a small relative loss.

    Infinite where rates vanish in which there are residuals: they do not fall by the linear flow.
    """
    rates, weights = np.asarray(linear.rates), np.asarray(linear.velocity) ** 2
    if not (np.isfinite(rates).all() and np.isfinite(weights).all() and rates[-1] > 0):
        return inf
    for stiffness in np.geomspace(1.0, 1e14, 57):
        left = weights @ np.exp(-2 * rates / rates[-1] * stiffness)
        if left <= RELATIVE_LOSS * weights.sum():
            return float(stiffness)
    return inf


@dataclass(frozen=True)
class Exponential:
    """Krogstad's exponential Runge–Kutta steps, the linear part decomposed anew for each.

    For least squares with few residuals, fewer than parameters, that can be made zero. The linear
    part is the Gauss–Newton matrix `JᵀJ`, from the kernel `J Jᵀ`. The flow is integrated to its
    end at two tolerances, a factor of six apart, and the sharpness is extrapolated from the two as
    for `Stabilized`; the error bar has the same parts, but for the stopping error, which is
    negligible here.

    Attributes
    ----------
    ladder, control
        As for `Stabilized`.
    """

    ladder: Ladder = LADDER
    control: StepControl = CONTROL

    name: ClassVar[str] = "exponential"

    @staticmethod
    def applies(problem: FlatProblem, w: Array) -> bool:
        """Return whether this method can be expected to need less work than `Stabilized`.

        That needs about `√(λT)` gradients for each of two tolerances and, by experience, several
        times more; here the work is a few hundred times that of one linearization.
        """
        if not problem.is_least_squares or problem.residual_count(w) >= w.size:
            return False
        step = sum(step_work(problem, w))
        if step > MAX_WORK:
            return False
        linear = linearize(problem, w)
        stiffness, eps = _stiffness(linear), float(jnp.finfo(w.dtype).eps)
        if not (STEPS * step < 8 * stiffness**0.5 and stiffness <= RESOLVED / eps):
            return False
        by_samples = problem.independent_samples(w)
        return not by_samples or _jacobian_error(problem, linear) <= eps**0.5

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Follow the flow from the vector `w`, shape `(p,)`, to its limit."""
        tolerances = self.ladder.tolerances(request.rtol)
        options = IntegrationOptions(self.control)
        pair = TolerancePair(self.name, ExponentialIntegrator, tolerances, options)
        return solve(pair, problem, w, request)
