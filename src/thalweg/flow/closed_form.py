"""Gradient flow solutions in closed form, where the problem has one: no ODE is solved."""

from dataclasses import dataclass
from math import inf, isfinite
from typing import ClassVar

from jaxtyping import Array

from thalweg.flow.method import Request
from thalweg.flow.solution import FlowSolution, Status
from thalweg.problems import ExactLimit, FlatProblem


@dataclass(frozen=True)
class ClosedForm:
    """The exact limit: the root of one equation, or the minimum of one convex function.

    It applies where the problem knows it: `ScalarNetwork`, and `DiagonalNetwork` (so
    `SquaredRegression`) from starts without zero coordinates, and, at odd depths, without two signs
    in one coordinate. `sharpness_error` is a bound made of the residual of the root finding and of
    rounding, times the condition of the sharpness.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from thalweg.flow.method import Request
    >>> from thalweg.problems import flatten
    >>> from thalweg.scalar import ScalarNetwork
    >>> problem, w = flatten(ScalarNetwork(depth=2), jnp.array([3.0, 3.0]))
    >>> s = ClosedForm().solve(problem, w, Request(rtol=1e-4, max_gradient_evaluations=100))
    >>> round(s.sharpness, 4), s.status.name  # balanced: depth · target^(2 - 2/depth)
    (2.0, 'CONVERGED')
    """

    name: ClassVar[str] = "closed_form"

    @staticmethod
    def applies(problem: FlatProblem, w: Array) -> bool:
        """Return whether the flow of `problem` from the vector `w` has a closed form."""
        return problem.problem.exact_flow(problem.tree(w)) is not None

    def solve(self, problem: FlatProblem, w: Array, request: Request) -> FlowSolution:
        """Return the limit of the flow from the vector `w`, shape `(p,)`.

        Raises
        ------
        ValueError
            The problem has no closed form, or none from this start.
        """
        exact = problem.problem.exact_flow(problem.tree(w))
        if exact is None:
            raise ValueError(
                f"there is no closed form for {type(problem.problem).__name__} from this start; "
                "leave method out, or pass one that integrates the flow"
            )
        found = exact(None if request.previous is None else request.previous.w)
        return _judged(problem.flat(found.w), found, request)


def _judged(w: Array, found: ExactLimit, request: Request) -> FlowSolution:
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
        w=w,
        sharpness=found.sharpness,
        sharpness_error=error,
        loss=found.loss,
        status=status,
        gradient_evaluations=found.gradient_evaluations,
        method=ClosedForm.name,
        eigenvector=found.eigenvector,
    )
