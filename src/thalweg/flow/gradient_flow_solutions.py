"""Many starts of one loss: their gradient flow solutions, side by side."""

from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from typing import Any

from jaxtyping import PyTree

from thalweg.basics.activity import entered
from thalweg.flow.gradient_flow_solution import gradient_flow_solution
from thalweg.flow.method import FlowProgress, Method
from thalweg.flow.solution import FlowSolution
from thalweg.problems.lanes import lanes_of_device, side_by_side
from thalweg.problems.stacked import unstacked


def gradient_flow_solutions(
    loss: Callable[[Any], Any],
    ws: PyTree,
    *,
    rtol: float = 1e-4,
    method: Method | None = None,
    max_gradient_evaluations: float = 200_000,
    report: Callable[[int, FlowProgress], bool | None] | None = None,
    previous: Sequence[FlowSolution | None] | None = None,
    standing: Sequence[Any] | None = None,
    max_seconds: float = inf,
    lanes: int | None = None,
) -> list[FlowSolution]:
    """Return `gradient_flow_solution` of each of several starts.

    Flows are followed side by side, `lanes` at a time: each takes its own steps, but gradients and
    Hessian products of several are computed in one batch. Values do not depend on the number of
    lanes, beyond rounding and what rounding makes of adaptive steps.

    Parameters
    ----------
    loss
        A problem, or any callable from parameters to a scalar.
    ws
        The starts: a list of them, or one pytree whose arrays have a leading axis of starts.
    rtol, method, max_gradient_evaluations, max_seconds
        As for `gradient_flow_solution`, for each flow by itself. Seconds include those in which
        other flows had the device.
    report
        Called now and then with the index of a start and the `Progress` of its flow; a true return
        value stops that flow. Ready made: `thalweg.progress()`.
    previous, standing
        As for `gradient_flow_solution`, one for each start.
    lanes
        How many flows are under way at a time. Left out: as many as pay on the device, which is
        one on a CPU, 32 on a GPU.

    Returns
    -------
    list of FlowSolution
        In the order of the starts. Failure of one is a status in its solution.

    Examples
    --------
    >>> import jax.numpy as jnp, thalweg as tw
    >>> starts = jnp.array([[1.0, 1.0], [2.0, 0.1], [3.0, 2.0]])
    >>> solutions = tw.gradient_flow_solutions(tw.ScalarNetwork(depth=2), starts)
    >>> [round(s.sharpness, 3) for s in solutions]
    [2.0, 4.463, 5.385]
    """
    starts = list(ws) if isinstance(ws, list) else unstacked(ws)
    if lanes is None:
        lanes = lanes_of_device()
    if not lanes >= 1:
        raise ValueError(f"lanes must be at least 1, got {lanes}; leave it out for the default")
    tasks = [
        partial(
            gradient_flow_solution,
            *(loss, start),
            rtol=rtol,
            method=method,
            max_seconds=max_seconds,
            max_gradient_evaluations=max_gradient_evaluations,
            report=None if report is None else partial(report, number),
            previous=before,
            standing=stands,
        )
        for number, (start, before, stands) in enumerate(
            zip(
                starts,
                _each(previous, starts, "previous"),
                _each(standing, starts, "standing"),
                strict=True,
            )
        )
    ]
    with entered(report):
        return side_by_side(tasks, lanes)


def _each(values: Sequence[Any] | None, starts: list[Any], name: str) -> Sequence[Any]:
    if values is None:
        return [None] * len(starts)
    if len(values) != len(starts):
        raise ValueError(f"{name} must have one entry for each of {len(starts)} starts")
    return values
