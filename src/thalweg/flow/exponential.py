"""Few residuals: exponential Runge–Kutta steps, whose cost does not depend on the stiffness.

Where the residuals are few, the stiff part of the flow can be known completely and solved exactly:
a step is then limited by how fast that part changes, not by its largest eigenvalue.
"""

from dataclasses import dataclass
from functools import cached_property
from math import factorial, inf
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.limit_estimate import Limit
from thalweg.flow.method import Request
from thalweg.flow.solution import FlowSolution
from thalweg.flow.step import FlowState
from thalweg.flow.tolerance_pair import TolerancePair, solve
from thalweg.problems import COST, FlatProblem
from thalweg.problems.compiling import compiled

FINE = 0.05  # local tolerance, in units of rtol
COARSENING = REFINEMENT = 6.0
REFINEMENTS = 6
DISTANCE_LEFT = 1e-4  # of rtol: the relative distance left to go, at which the flow ends
HORIZON = 1e6  # in units of the time so far: the time in which no more than that is left to go
GROWTH, SHRINKAGE, SAFETY = 5.0, 0.2, 0.9
MOST_GROWTH = 20.0  # logarithm of the growth of perturbations in one step
TRIALS = 40  # of a step, each shorter than the one before
STEPS = 300.0  # expected, for choosing a method
MAX_WORK = 60.0  # of a linearization and a trial, beyond which this method is not considered
RESOLVED = 0.01  # of the inverse rounding unit: rates slower than the fastest by more are noise
RELATIVE_LOSS = 1e-2  # that the linear flow is to reach in the time that Stabilized is charged for
TERMS = 19  # of the series of φ functions at |z| < 1


class Vector(NamedTuple):
    """A vector `outer + lift(inner)`; `inner_of_outer` is the projection of `outer`."""

    outer: Array
    inner_of_outer: Array
    inner: Array


class Linearization(eqx.Module):
    """The flow `w' = -JᵀJ (w - w₀) + ...` around `w₀`, with `J Jᵀ = Q Λ Qᵀ` known.

    Inner coordinates are those of the range of `Jᵀ`, `lift(a) = Jᵀ Q a`. `velocity` is in inner
    coordinates, `rows` is `J`, `rotation` is `Q` and `rates` is the diagonal of `Λ`.
    """

    w: Array
    velocity: Array
    rows: Array
    rotation: Array
    rates: Array

    def lift(self, inner: Array) -> Array:
        """Return the parameters' direction with these coordinates, shape `(p,)`."""
        return self.rows.T @ (self.rotation @ inner)

    def vector(self, outer: Array, inner: Array) -> Vector:
        """Return `outer + lift(inner)`."""
        return Vector(outer, self.rotation.T @ (self.rows @ outer), inner)

    def value(self, v: Vector) -> Array:
        """Return the vector, shape `(p,)`."""
        return v.outer + self.lift(v.inner)

    def matrix(self, v: Vector) -> Array:
        """Return `JᵀJ v` in inner coordinates."""
        return v.inner_of_outer + self.rates * v.inner

    def phi(self, weights: dict[int, float], h: Array, v: Vector) -> Vector:
        """Return `h Σ_j weights[j] φ_j(-h A) v`."""
        of = phi_functions(-h * self.rates, max(weights) + 1)
        at_zero = sum(weight / factorial(j) for j, weight in weights.items())
        inner = sum(weight * of[j] for j, weight in weights.items())
        beyond = sum(weight * of[j + 1] for j, weight in weights.items())
        return Vector(
            h * at_zero * v.outer,
            h * at_zero * v.inner_of_outer,
            h * (inner * v.inner - h * beyond * v.inner_of_outer),
        )

    def linear_flow(self, h: Array) -> Vector:
        """Return `h φ_1(-h A) w'`: where the linear flow takes `w₀` in time `h`."""
        nothing = jnp.zeros_like(self.velocity)
        inner = h * phi_functions(-h * self.rates, 1)[1] * self.velocity
        return Vector(jnp.zeros_like(self.w), nothing, inner)


def phi_functions(z: Array, last: int) -> list[Array]:
    """Return `φ_0 = exp, φ_1, ..., φ_last` at `z`, where `φ_{j+1}(z) = (φ_j(z) - 1/j!) / z`.

    Where `exp(z)` or its square would overflow, `z` is taken for the largest number that is safe.

    Examples
    --------
    >>> [round(float(f), 4) for f in phi_functions(jnp.array(0.0), 3)]
    [1.0, 1.0, 0.5, 0.1667]
    """
    z = jnp.minimum(z, 0.4 * float(np.log(jnp.finfo(z.dtype).max)))
    is_small = jnp.abs(z) < 1
    small, large = jnp.where(is_small, z, 0.0), jnp.where(is_small, 1.0, z)
    of, by_recursion = [jnp.exp(z)], jnp.exp(large)
    series = jnp.zeros((last, *z.shape), z.dtype)  # of all functions at once
    for k in range(TERMS - 1, -1, -1):
        terms = np.array([1 / factorial(j + k) for j in range(1, last + 1)], z.dtype)
        series = series * small[None] + terms.reshape(-1, *[1] * z.ndim)
    for j in range(1, last + 1):
        by_recursion = (by_recursion - 1 / factorial(j - 1)) / large
        of.append(jnp.where(is_small, series[j - 1], by_recursion))
    return of


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


@compiled
def linearize(problem: FlatProblem, w: Array) -> Linearization:
    """Return the flow around `w`."""
    rows = problem.jacobian_matrix(w)
    rates, rotation = jnp.linalg.eigh(rows @ rows.T)
    velocity = -(rotation.T @ problem.residuals(w))
    return Linearization(w, velocity, rows, rotation, jnp.maximum(rates, 0.0))


def krogstad(problem: FlatProblem, linear: Linearization, h: Array) -> tuple[Array, Array]:
    """Take one step of Krogstad's fourth-order method; return its end and an error estimate.

    The estimate is the norm of the difference to a second-order method that shares the stages.
    Costs three gradients. Source: S. Krogstad, J. Comput. Phys. 203 (2005), there ETDRK4-B.
    """
    velocity = linear.lift(linear.velocity)

    def remainder(u: Vector) -> Vector:
        """Return what the linear flow leaves out of the velocity at `w + u`."""
        there = -problem.gradient(linear.w + linear.value(u))
        return linear.vector(there - velocity, linear.matrix(u))

    half, full = linear.linear_flow(h / 2), linear.linear_flow(h)
    second = remainder(half)
    third = remainder(_add(half, linear.phi({2: 2.0}, h / 2, second)))
    fourth = remainder(_add(full, linear.phi({2: 2.0}, h, third)))
    correction = _add(
        linear.phi({2: 2.0, 3: -4.0}, h, _add(second, third)),
        linear.phi({2: -1.0, 3: 4.0}, h, fourth),
    )
    lower = linear.value(linear.phi({2: 1.0}, h, fourth))
    error = jnp.linalg.norm(linear.value(correction) - lower)
    return linear.w + linear.value(_add(full, correction)), error


class ExponentialStep(NamedTuple):
    """Where an exponential step ended, how many trials it took, and what is known there.

    `bound` is the largest rate at the start of the step; `remaining` is how far the linear flow
    would still have gone from there, in a time far longer than that already spent.
    """

    state: FlowState
    trials: Array
    bound: Array
    remaining: Array


@compiled
def exponential_step(
    problem: FlatProblem, linear: Linearization, state: FlowState, atol: Array, t_end: Array
) -> ExponentialStep:
    """Take one step from `state`, the longest of a shrinking sequence with a local error `≤ atol`.

    Not beyond time `t_end`; the next step's length is proposed in the new state. `linear` is the
    flow around the state.
    """
    bound = jnp.max(linear.rates)
    horizon = HORIZON * (state.time + 1 / jnp.maximum(bound, jnp.finfo(bound.dtype).tiny ** 0.5))
    remaining = jnp.linalg.norm(linear.lift(linear.linear_flow(horizon).inner))

    def refused(trial: Any) -> Any:
        _, _, error, _, trials = trial
        return ~(error <= atol) & (trials < TRIALS)

    def attempt(trial: Any) -> Any:
        _, _, _, h, trials = trial
        w, error = krogstad(problem, linear, h)
        error = jnp.where(jnp.isfinite(error), error, jnp.inf)
        factor = SAFETY * (atol / jnp.maximum(error, jnp.finfo(error.dtype).tiny)) ** (1 / 3)
        return w, h, error, h * jnp.clip(factor, SHRINKAGE, GROWTH), trials + 1

    growing = jnp.maximum(-jnp.min(linear.rates), jnp.finfo(bound.dtype).tiny ** 0.5)
    first = jnp.minimum(jnp.minimum(state.step, t_end - state.time), MOST_GROWTH / growing)
    begin = (state.w, first, jnp.full_like(atol, jnp.inf), first, jnp.zeros((), int))
    w, h, _, proposal, trials = lax.while_loop(refused, attempt, begin)
    loss, gradient = problem.value_and_gradient(w)
    end = FlowState(state.time + h, w, -gradient, loss, proposal)
    return ExponentialStep(end, trials, bound, remaining)


def fixed_exponential_step(problem: FlatProblem, w: Array, length: Array, bound: Array) -> Array:
    """Return where one step of the given length leads; a bound is not needed."""
    del bound
    return krogstad(problem, linearize(problem, w), length)[0]


class ExponentialIntegrator(FlowIntegrator):
    """Integrates by exponential steps, until next to nothing is left to go."""

    step = staticmethod(fixed_exponential_step)
    linearize = staticmethod(linearize)

    @cached_property
    def work(self) -> StepWork:
        """What a step costs: the same everywhere, but slow to find out."""
        return step_work(self.problem, self.origin)

    def _renew_bound(self, w: Array) -> None:
        self.bound = float(jnp.max(self.linearize(self.problem, w).rates))
        self.budget.spend(self.work.linearization)

    def _advance(self, state: FlowState, tolerance: float) -> FlowState:
        dtype = state.w.dtype
        atol = tolerance * self._scale(state)
        limits = jnp.asarray(atol, dtype), jnp.asarray(self.t_end, dtype)
        linear = self.linearize(self.problem, state.w)
        step = exponential_step(self.problem, linear, state, *limits)
        self.bound, self.remaining = float(step.bound), float(step.remaining)
        trials = float(step.trials) * self.work.trial
        self.count_work(self.work.linearization + trials + COST.gradient)
        self._add_growth(linear, float(step.state.time - state.time))
        return step.state

    def _add_growth(self, linear: Linearization, time: float) -> None:
        """Add the growth of perturbations in a step: none, where no rate is negative."""

    def _is_at_rest(self, state: FlowState) -> bool:
        near = DISTANCE_LEFT * self.rtol * self._scale(state)
        return self.remaining <= near or super()._is_at_rest(state)

    def _estimate_limit(self, state: FlowState) -> Limit | None:
        return None  # the steps themselves reach the limit


@compiled
def _jacobian_error(problem: FlatProblem, linear: Linearization) -> Array:
    """Return how far `jacobian_matrix` is from `J`, relatively, in the direction of `w`."""
    image = problem.jacobian(linear.w)[1](linear.w)
    return jnp.divide(jnp.linalg.norm(linear.rows @ linear.w - image), jnp.linalg.norm(image))


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
    """

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
        return not by_samples or float(_jacobian_error(problem, linear)) <= eps**0.5

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Follow the flow from the vector `w`, shape `(p,)`, to its limit."""
        pair = tolerance_pair(self.name, ExponentialIntegrator, request.rtol)
        return solve(pair, problem, w, request)


def tolerance_pair(name: str, integrator: type[FlowIntegrator], rtol: float) -> TolerancePair:
    """Return the tolerances of exponential steps, and what their difference says."""
    fine = FINE * rtol
    tolerances = [COARSENING * fine, *(fine / REFINEMENT**k for k in range(REFINEMENTS + 1))]
    return TolerancePair(name, integrator, tolerances)
