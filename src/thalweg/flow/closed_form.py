"""Gradient flow solutions in closed form, where the problem has one: no ODE is solved."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from thalweg.diagonal import DiagonalNetwork
from thalweg.diagonal.convex_dual import DualCoordinates, has_closed_form
from thalweg.flow.method import Request
from thalweg.flow.solution import FlowSolution, Status
from thalweg.problems import COST, FlatProblem
from thalweg.problems.compiling import compiled
from thalweg.problems.problem import Params
from thalweg.scalar import ScalarNetwork
from thalweg.scalar.flow_limit import ScalarLimits


@dataclass(frozen=True)
class ClosedForm:
    """The exact limit: the root of one equation, or the minimum of one convex function.

    It applies to `ScalarNetwork`, and to `DiagonalNetwork` (so to `SquaredRegression`) from starts
    without zero coordinates, and, at odd depths, without two signs in one coordinate.
    `sharpness_error` is a bound made of the residual of the root finding and of rounding, times
    the condition of the sharpness. `gradient_evaluations` counts, for a scalar network, one per
    Newton iteration; for a diagonal network with `k = min(n, d)`, the `k` Jacobian products and
    their transposes that the SVD is worth, `k` Hessian products and a gradient per Newton
    iteration (its `k × k` system), and `2k` Hessian products for the eigenvalue and its error bar.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from thalweg.flow.method import Request
    >>> from thalweg.problems import flatten
    >>> problem, w = flatten(ScalarNetwork(depth=2), jnp.array([3.0, 3.0]))
    >>> s = ClosedForm().solve(problem, w, Request(rtol=1e-4, max_gradient_evaluations=100))
    >>> round(s.sharpness, 4), s.status.name  # balanced: depth · target^(2 - 2/depth)
    (2.0, 'CONVERGED')
    """

    name: ClassVar[str] = "closed_form"

    @staticmethod
    def applies(problem: FlatProblem, w: Array) -> bool:
        """Return whether the flow of `problem` from the vector `w` has a closed form."""
        if isinstance(problem.problem, DiagonalNetwork):
            u, v = np.split(np.asarray(w), 2)
            return bool(np.all(has_closed_form(u, v, problem.problem.depth)))
        return isinstance(problem.problem, ScalarNetwork)

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Return the limit of the flow from the vector `w`, shape `(p,)`.

        Raises
        ------
        ValueError
            The problem has no closed form, or none from this start.
        """
        if not self.applies(problem, w):
            raise ValueError(
                f"there is no closed form for {type(problem.problem).__name__} from this start; "
                "leave method out, or pass one that integrates the flow"
            )
        # The problem itself is passed on, not the flat view of it: what is compiled for one start
        # then serves every start of the same shape.
        network = problem.problem
        if isinstance(network, DiagonalNetwork):
            found = _diagonal(network, w, request.previous)
        else:
            assert isinstance(network, ScalarNetwork)
            found = _scalar(network, w)
        return _judged(found, request)


@dataclass(frozen=True)
class _Found:
    """A limit, as a vector, and what is known there."""

    w: Array | np.ndarray
    sharpness: float
    error: float
    loss: float
    is_saddle: bool
    cost: float
    eigenvector: Array | np.ndarray | None


@compiled
def _scalar_arrays(network: ScalarNetwork, w: Array) -> tuple[ScalarLimits, Array]:
    found = network.flow_limit(w)
    return found, network(found.limit)


def _scalar(network: ScalarNetwork, w: Array) -> _Found:
    found, loss = jax.device_get(_scalar_arrays(network, w))
    vector = None
    if not found.is_saddle and np.isfinite(found.sharpness):
        inverse = np.min(np.abs(found.limit)) / found.limit  # ∇π ∝ 1/w
        vector = jnp.asarray(inverse / np.linalg.norm(inverse))
    return _Found(
        jnp.asarray(found.limit),
        float(found.sharpness),
        float(found.error),
        float(loss),
        bool(found.is_saddle),
        COST.gradient * int(found.iterations),
        vector,
    )


@compiled
def _diagonal_arrays(
    network: DiagonalNetwork, coordinates: DualCoordinates, w: Array, near: Params | None
) -> tuple[Array, Array, Array, Array, Array, Array]:
    u, v = jnp.split(w, 2)
    found = network.flow_limit({"u": u, "v": v}, coordinates, near)
    limit = jnp.concatenate([found.u, found.v])
    loss = network({"u": found.u, "v": found.v})
    return limit, found.sharpness, found.error, loss, found.iterations, found.eigenvector


def _diagonal(network: DiagonalNetwork, w: Array, previous: FlowSolution | None) -> _Found:
    near = previous.w if previous is not None and _fits(previous.w, w) else None
    found = _diagonal_arrays(network, network.coordinates(w.dtype), w, near)
    limit, sharpness, error, loss, iterations, eigenvector = jax.device_get(found)
    k = min(network.x.shape)
    newton = k * COST.hessian_product + COST.gradient
    ends = 2 * k * COST.jacobian_product + 2 * k * COST.hessian_product
    return _Found(
        limit,
        float(sharpness),
        float(error),
        float(loss),
        False,
        ends + int(iterations) * newton,
        eigenvector if isfinite(sharpness) else None,
    )


def _fits(near: Params, w: Array) -> bool:
    """Return whether `near` is the parameters of a network with the parameter vector `w`."""
    if not isinstance(near, dict) or set(near) != {"u", "v"}:
        return False
    return all(a.shape == (w.size // 2,) and a.dtype == w.dtype for a in near.values())


def _judged(found: _Found, request: Request) -> FlowSolution:
    if found.is_saddle:
        status = Status.SADDLE
    elif not (isfinite(found.sharpness) and isfinite(found.loss)):
        status = Status.NON_FINITE
    elif found.error > request.rtol * abs(found.sharpness):
        status = Status.INACCURATE
    else:
        status = Status.CONVERGED
    error = found.error if isfinite(found.error) else inf
    return FlowSolution(
        w=jnp.asarray(found.w),
        sharpness=found.sharpness,
        sharpness_error=error,
        loss=found.loss,
        status=status,
        gradient_evaluations=found.cost,
        method=ClosedForm.name,
        eigenvector=found.eigenvector,
    )
