"""The one question: where gradient flow from `w` ends, and how sharp the loss is there."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

from jaxtyping import PyTree

from thalweg.basics.activity import doing, entered
from thalweg.basics.blas import one_blas_thread
from thalweg.flow.closed_form import ClosedForm
from thalweg.flow.exponential import Exponential
from thalweg.flow.exponential_rosenbrock import ExponentialRosenbrock
from thalweg.flow.gradient_jumps import has_gradient_jumps
from thalweg.flow.method import FlowProgress, Method, Request
from thalweg.flow.nonsmooth import Kinked
from thalweg.flow.solution import FlowSolution
from thalweg.flow.stabilized import Stabilized
from thalweg.problems import FlatProblem, flatten


@one_blas_thread
def gradient_flow_solution(
    loss: Callable[[Any], Any],
    w: PyTree,
    *,
    rtol: float = 1e-4,
    method: Method | None = None,
    max_gradient_evaluations: float = 200_000,
    report: Callable[[FlowProgress], bool | None] | None = None,
    previous: FlowSolution | None = None,
    standing: Any = None,
    max_seconds: float = inf,
) -> FlowSolution:
    """Solve `dw/dt = -∇L(w)` to its limit `S(w)` and return the sharpness `λ(S(w))` there.

    Parameters
    ----------
    loss
        A problem, or any callable from parameters to a scalar.
    w
        The start: any pytree with floating-point arrays. Their dtype decides the precision.
    rtol
        Relative accuracy wanted of the sharpness at the limit.
    method
        A method object; left out, the best that applies: a closed form where the problem has one,
        else integration: by steps for kinked losses where the gradient jumps, by exponential steps
        where the residuals are few and the flow is stiff, by a stabilised method otherwise. The
        solution names what was chosen.
    max_gradient_evaluations
        Budget, in units of one gradient.
    report
        Called now and then with a `thalweg.flow.Progress`; a true return value stops the flow.
        Ready made: `thalweg.progress()`.
    previous
        The solution of a neighbouring iterate: warm-starts the eigensolver.
    standing
        Go on from there: what `standing()` of a `Progress` of an earlier solve, with the same
        arguments, has returned. The answer is that of an uninterrupted solve, bit for bit.
    max_seconds
        Budget of wall-clock time. Where it ends a flow depends on the machine.

    Returns
    -------
    FlowSolution
        Failure is a status in it, with a sentence of advice, never an exception.

    Examples
    --------
    >>> import jax.numpy as jnp, thalweg as tw
    >>> s = tw.gradient_flow_solution(tw.ScalarNetwork(depth=2), jnp.array([1.0, 1.0]))
    >>> round(s.sharpness, 3)  # balanced: depth * target ** (2 - 2 / depth)
    2.0
    """
    request = Request(rtol, max_gradient_evaluations, report, previous, standing, max_seconds)
    if method is not None and (isinstance(method, type) or not hasattr(method, "solve")):
        raise TypeError(
            f"method must be an object such as thalweg.flow.Stabilized(), not {method!r}"
        )
    with entered(report), doing("following the gradient flow"):
        problem, vector = flatten(loss, w)
        solution = (method or _best_method(problem, vector)).solve(problem, vector, request)
    return replace(solution, w=problem.tree(solution.w))


def _best_method(problem: FlatProblem, w: Any) -> Method:
    if ClosedForm.applies(problem, w):
        return ClosedForm()
    if has_gradient_jumps(problem, w):
        return Kinked()
    if ExponentialRosenbrock.applies(problem, w):
        return ExponentialRosenbrock()
    return Exponential() if Exponential.applies(problem, w) else Stabilized()
