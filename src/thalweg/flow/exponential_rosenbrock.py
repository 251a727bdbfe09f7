"""Few parameters: exponential steps with the whole Hessian decomposed, whatever the loss."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array

from thalweg.flow.exponential import (
    ExponentialPursuit,
    Linearization,
    Vector,
    Work,
    krogstad,
    scheme,
)
from thalweg.flow.follow import Pursuit
from thalweg.flow.method import Request
from thalweg.flow.solution import FlowSolution
from thalweg.flow.twice import solve
from thalweg.problems import COST, FlatProblem

EXTRAPOLATION = 0.1  # errors fall like tolerance^(4/3): by 11, where tolerances fall by 6
FEW = 64  # parameters, up to which this method is chosen


class Whole(Linearization):
    """The flow `w' = -H (w - w₀) + ...` around `w₀`, with `H = Q Λ Qᵀ` known.

    Inner coordinates are those of the eigenvectors, and hold everything. `rows` is the identity.
    """

    def vector(self, outer: Array, inner: Array) -> Vector:
        """Return `outer + lift(inner)`, without an outer part."""
        nothing = jnp.zeros_like(outer)
        return Vector(nothing, nothing, inner + self.rotation.T @ outer)


def linearize_whole(problem: FlatProblem, w: Array) -> Whole:
    """Return the flow around `w`. Costs a gradient and `p` Hessian products."""
    identity = jnp.eye(w.size, dtype=w.dtype)
    hessian = jax.vmap(problem.hessian(w))(identity)
    rates, rotation = jnp.linalg.eigh(0.5 * hessian + 0.5 * hessian.T)
    velocity = -(rotation.T @ problem.gradient(w))
    return Whole(w, velocity, identity, rotation, rates)


def rosenbrock_move(problem: FlatProblem, w: Array, length: Array, bound: Array) -> Array:
    """Return where one step of the given length leads; a bound is not needed."""
    del bound
    return krogstad(problem, linearize_whole(problem, w), length)[0]


class RosenbrockPursuit(ExponentialPursuit):
    """Follows a flow by exponential steps with the whole Hessian."""

    step = staticmethod(rosenbrock_move)
    linearize = staticmethod(linearize_whole)

    _renew_bound = Pursuit._renew_bound  # compiled already for the sharpness

    @cached_property
    def work(self) -> Work:
        """What a step costs."""
        linearization = COST.gradient + COST.hessian_product * self.origin.size
        return Work(linearization, 3 * COST.gradient)


@dataclass(frozen=True)
class ExponentialRosenbrock:
    """Krogstad's exponential Runge–Kutta steps around the exact linearisation at each.

    For few parameters: the Hessian is formed and decomposed at every step. Neither stiffness nor
    modes that are slower than others by many orders of magnitude (weight decay) make it slow, and
    the flow is followed to its very end, at two tolerances or more, as by `Exponential`.

    References
    ----------
    M. Hochbruck, A. Ostermann, J. Schweitzer, *Exponential Rosenbrock-type methods*, SIAM J. Numer.
    Anal. 47 (2009) 786-803: the class of methods.
    """

    name: ClassVar[str] = "exponential_rosenbrock"

    @staticmethod
    def applies(problem: FlatProblem, w: Array) -> bool:
        """Return whether parameters are few, in float64: rounding of less drowns slow modes."""
        return w.size <= FEW and w.dtype == jnp.float64

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Follow the flow from the vector `w`, shape `(p,)`, to its limit."""
        steps = scheme(self.name, RosenbrockPursuit, request.rtol)
        return solve(replace(steps, extrapolation=EXTRAPOLATION), problem, w, request)
