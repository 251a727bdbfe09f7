"""Few parameters: exponential steps with the whole Hessian decomposed, whatever the loss."""

from dataclasses import dataclass
from functools import cached_property
from math import inf, log
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from thalweg.flow.exponential import (
    CONTROL,
    ExponentialIntegrator,
    Linearization,
    StepWork,
    Vector,
    eigh,
    krogstad_steps,
)
from thalweg.flow.integrate import FlowIntegrator
from thalweg.flow.integration_options import IntegrationOptions
from thalweg.flow.limit_estimate import Limit
from thalweg.flow.method import Request
from thalweg.flow.second_difference import second_difference
from thalweg.flow.solution import FlowSolution, Status
from thalweg.flow.step import FlowState, loss_and_velocity
from thalweg.flow.step_control import StepControl
from thalweg.flow.tolerance_pair import Ladder, TolerancePair, solve
from thalweg.problems import COST, FlatProblem
from thalweg.problems.programs import array_module, hessian_matrix, norm

LADDER = Ladder(0.1, refinements=6, power=0.75, loosest=1e-4)
EXTRAPOLATION = 0.1  # errors mostly fall like tolerance^(4/3): by 11, where tolerances fall by 6
SAFETY_FACTOR = 2.0  # by which the error bar is widened
MAX_PARAMETERS = 64  # up to which this method is chosen
FLAT = 1e-8  # of the largest rate: slower modes are those of the valley floor
MIN_COSINE = 0.2  # of the angle of errors and gradient: by chance, it may be less
AMPLIFICATION = 1e-3  # the size to which rounding may have grown by downward curvature
MIN_GROWTH = 0.01  # logarithm of the growth in a step, from which on it is estimated anew,
SMALL = 1e-4  # where the curvature downwards, in parts of that upwards, may be an error
BELOW_ROUNDING = 100.0  # units of rounding of the largest rate: slower growth is not seen


class HessianLinearization(Linearization):
    """The flow `w' = -H (w - w₀) + ...` around `w₀`, with `H = Q Λ Qᵀ` known.

    Inner coordinates are those of the eigenvectors, and hold everything: there are no `rows`.
    """

    def lift(self, inner: Any) -> Any:
        """Return the parameters' direction with these coordinates, shape `(p,)`."""
        return self.rotation @ inner

    def vector(self, outer: Any, inner: Any) -> Vector:
        """Return `outer + lift(inner)`, without an outer part."""
        return Vector(0 * outer, 0 * inner, inner + self.rotation.T @ outer)


def linearize_hessian(problem: FlatProblem, w: Array) -> HessianLinearization:
    """Return the flow around `w`. Costs a gradient and `p` Hessian products."""
    xp, velocity = array_module(w), loss_and_velocity(problem, w)[1]
    hessian = xp.asarray(hessian_matrix(problem, w))
    rates, rotation = eigh(0.5 * hessian + 0.5 * hessian.T)
    velocity = rotation.T @ xp.asarray(velocity)
    return HessianLinearization(xp.asarray(w), velocity, hessian[:0], rotation, rates)


def rosenbrock_steps(problem: FlatProblem, w: Array, lengths: Any, bounds: Any) -> Array:
    """Return where steps of the given lengths lead; bounds are not needed."""
    del bounds
    return krogstad_steps(linearize_hessian, problem, w, lengths)


def growth(problem: FlatProblem, linear: Linearization, time: float) -> float:
    """Return the logarithm of the growth of perturbations, for some time after the flow is at `w₀`.

    That is by the lowest curvature at `w₀`, and where the modes that relax within this time have
    done so, whichever is less: by less than a tolerance beside the floor of a curved valley, the
    loss may curve downwards along it, but not for long.
    """
    there = np.asarray(linearize_hessian(problem, _relaxed(linear, time)).rates)
    unseen = BELOW_ROUNDING * float(jnp.finfo(there.dtype).eps) * np.max(np.abs(there))
    downwards = -max(float(np.min(linear.rates)), float(np.min(there) + unseen))
    return time * max(downwards, 0.0)


def _relaxed(linear: Linearization, time: float) -> Array:
    xp = array_module(linear.w)
    relaxes = linear.rates * time > 1
    rates = xp.where(relaxes, linear.rates, 1)
    return jnp.asarray(linear.w + linear.lift(xp.where(relaxes, linear.velocity / rates, 0)))


def gradient_of_curvature(problem: FlatProblem, w: Array, v: Array) -> NDArray[np.float64]:
    """Return `∇(vᵀ ∇²L v)`, shape `(p,)`: the second difference of the gradient along `v`."""
    step = float(jnp.finfo(w.dtype).eps) ** 0.25 * max(norm(w), 1e-30)
    _, difference = second_difference(problem, w, (step * np.asarray(v)).astype(w.dtype))
    return difference / np.float64(step) ** 2


class RosenbrockIntegrator(ExponentialIntegrator):
    """Integrates by exponential steps with the whole Hessian."""

    steps_again = staticmethod(rosenbrock_steps)
    linearize = staticmethod(linearize_hessian)

    _renew_bound = FlowIntegrator._renew_bound  # compiled already for the sharpness

    @cached_property
    def work(self) -> StepWork:
        """What a step costs."""
        linearization = COST.gradient + COST.hessian_product * self.origin.size
        return StepWork(linearization, 3 * COST.gradient)

    def _add_growth(self, linear: Linearization, time: float) -> None:
        downwards = -float(np.min(linear.rates))
        seen = downwards * time
        if seen > MIN_GROWTH and downwards < SMALL * self.bound:
            seen = growth(self.problem, linear, time)
            self.count_work(self.work.linearization)
        self.growth += max(seen, 0.0)

    def slope_of_sharpness(self, limit: Limit) -> float:
        """Return a part of the length of the gradient of the sharpness along the valley floor."""
        guess = super().slope_of_sharpness(limit)
        if limit.eigenvector is None:
            return guess
        linear = self.linearize(self.problem, limit.w)
        gradient = gradient_of_curvature(self.problem, limit.w, limit.eigenvector)
        self.budget.spend(self.work.linearization + 3 * COST.gradient)
        rates = np.asarray(linear.rates)
        flat = np.abs(rates) < FLAT * np.max(rates)
        along = (np.asarray(linear.rotation).T @ gradient)[flat]
        return max(guess, MIN_COSINE * norm(along))

    def _terminate(self, state: FlowState) -> Limit | None:
        ended = super()._terminate(state)
        if (ended is None or ended.status is None) and self._is_lost_to_rounding(state):
            return self.failed_limit(Status.SADDLE)
        return ended

    def _is_lost_to_rounding(self, state: FlowState) -> bool:
        """Whether rounding decides where the flow goes: it was close to a saddle for too long.

        Rounding is relative to `w`, and has not grown where `w` itself has.
        """
        resolved = AMPLIFICATION / float(jnp.finfo(state.w.dtype).eps)
        begin = norm(self.origin)
        own_growth = log(self._size(state.w) / begin) if begin > 0 else inf
        return self.growth - own_growth > log(resolved)


@dataclass(frozen=True)
class ExponentialRosenbrock:
    """Krogstad's exponential Runge–Kutta steps around the exact linearisation at each.

    For few parameters: the Hessian is formed and decomposed at every step. Neither stiffness nor
    modes that are slower than others by many orders of magnitude (weight decay) make it slow, and
    the flow is integrated to its very end, at two tolerances or more, as by `Exponential`.

    References
    ----------
    M. Hochbruck, A. Ostermann, J. Schweitzer, *Exponential Rosenbrock-type methods*, SIAM J. Numer.
    Anal. 47 (2009) 786-803: the class of methods.
    """

    ladder: Ladder = LADDER
    control: StepControl = CONTROL

    name: ClassVar[str] = "exponential_rosenbrock"

    @staticmethod
    def applies(problem: FlatProblem, w: Array) -> bool:
        """Return whether parameters are few, in float64: rounding of less drowns slow modes."""
        return w.size <= MAX_PARAMETERS and w.dtype == jnp.float64

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Follow the flow from the vector `w`, shape `(p,)`, to its limit."""
        tolerances = self.ladder.tolerances(request.rtol)
        pair = TolerancePair(
            *(self.name, RosenbrockIntegrator, tolerances, IntegrationOptions(self.control)),
            extrapolation=EXTRAPOLATION,
            safety_factor=SAFETY_FACTOR,
        )
        return solve(pair, problem, w, request)
