"""Several starts of gradient descent, as those of several seeds."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PyTree

from thalweg.descent.schedule import checked_count
from thalweg.problems import Problem, flatten
from thalweg.problems.stacked import unstacked

StepSizes = float | Sequence[float] | Sequence[Sequence[float]]


class Starts:
    """Several starts, from each of which `descend` runs as it would from that one alone.

    Parameters
    ----------
    ws
        Parameters, one pytree for each start: alike in structure and shapes.
    seeds
        The numbers that they are called by in results and figures: "seed 3". Left out, they are
        counted: "start 0", "start 1".

    Raises
    ------
    ValueError
        There is none, they are not alike, or there are not as many seeds.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from thalweg.descent import descend
    >>> starts = Starts([jnp.array([seed + 1.0]) for seed in (3, 5)], seeds=(3, 5))
    >>> run = descend(lambda w: 0.5 * jnp.vdot(w, w), starts, step_size=1.0, steps=1)
    >>> run.dataset["seed"].values, run.dataset["loss"].values
    (array([3, 5]), array([[ 8.,  0.], [18.,  0.]]))
    """

    def __init__(self, ws: Iterable[PyTree], seeds: Iterable[int] | None = None):
        self.ws = tuple(ws)
        self.kind = "start" if seeds is None else "seed"
        numbers = range(len(self.ws)) if seeds is None else seeds
        self.numbers = tuple(checked_count("each of the seeds", one, least=0) for one in numbers)
        if not self.ws:
            raise ValueError("there is no start: give at least one")
        if len(self.numbers) != len(self.ws):
            raise ValueError(
                f"there are {len(self.ws)} starts, but {len(self.numbers)} seeds: give one for each"
            )
        if any(_shapes(w) != _shapes(self.ws[0]) for w in self.ws):
            raise ValueError("the starts differ in structure or shapes: give those of one model")

    @classmethod
    def stacked(cls, ws: PyTree, seeds: Iterable[int] | None = None) -> Self:
        """Return the starts along a first axis of all arrays, as `jax.vmap` stacks them.

        >>> Starts.stacked({"w": np.zeros((3, 2))}).numbers
        (0, 1, 2)
        """
        return cls(unstacked(ws), seeds)


class PlannedRun(NamedTuple):
    """What one run begins with."""

    problem: Problem
    w: PyTree
    step_size: float
    start: int  # its place among the starts: runs of one share what is measured there


def planned_runs(
    loss: Callable[[Any], Any] | Sequence[Callable[[Any], Any]],
    w0: PyTree | Starts,
    step_size: StepSizes,
) -> tuple[list[PlannedRun], tuple[str, list[int]] | None]:
    """Return the runs of a descent, start by start, and how each start is called if several are.

    Raises as `descend`.
    """
    starts = w0 if isinstance(w0, Starts) else None
    sizes = _step_sizes(step_size, None if starts is None else len(starts.ws))
    flat = [flatten(one, w) for one, w in each_start(loss, w0)]
    runs = [
        PlannedRun(problem.problem, problem.tree(vector), size, start)
        for start, ((problem, vector), own) in enumerate(zip(flat, sizes, strict=True))
        for size in own
    ]
    if starts is None:
        return runs, None
    numbers = [one for one, own in zip(starts.numbers, sizes, strict=True) for _ in own]
    return runs, (starts.kind, numbers)


def each_start(loss: Any, w0: PyTree | Starts) -> list[tuple[Any, PyTree]]:
    """Return each start with its loss. Raises as `descend`."""
    if not isinstance(w0, Starts):
        return [(loss, w0)]
    losses = loss if isinstance(loss, list | tuple) else [loss] * len(w0.ws)
    if len(losses) != len(w0.ws):
        raise ValueError(
            f"there are {len(w0.ws)} starts, but {len(losses)} losses: give one for each, or one "
            "for all"
        )
    return list(zip(losses, w0.ws, strict=True))


def one_of(w0: PyTree | Starts) -> PyTree:
    """Return parameters, those of one start where there are several."""
    return w0.ws[0] if isinstance(w0, Starts) else w0


def _step_sizes(step_size: Any, starts: int | None) -> list[list[float]]:
    """Return the step sizes of each start."""
    is_nested = isinstance(step_size, list | tuple | np.ndarray) and any(map(np.ndim, step_size))
    if starts is None or not is_nested:
        return [checked_step_sizes(step_size)] * (starts or 1)
    if len(step_size) != starts:
        raise ValueError(
            f"there are {starts} starts, but {len(step_size)} lists of step sizes: give one for "
            "each, or one for all"
        )
    return [checked_step_sizes(own) for own in step_size]


def checked_step_sizes(step_size: float | Sequence[float]) -> list[float]:
    """Return step sizes, or raise a ValueError."""
    try:
        sizes = np.atleast_1d(np.asarray(step_size, float))
    except (TypeError, ValueError):
        sizes = np.zeros(0)
    if sizes.ndim > 1 or sizes.size == 0:
        raise ValueError(f"step_size must be a number or a list of numbers, got {step_size!r}")
    for size in sizes:
        if not (math.isfinite(size) and size > 0):
            raise ValueError(
                f"step_size must be positive and finite, got {size:g}; choose one near "
                "2 / sharpness to see the edge of stability"
            )
    return [float(size) for size in sizes]


def _shapes(w: PyTree) -> Any:
    arrays = eqx.filter(w, _is_array)
    leaves = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(arrays)]
    return jax.tree.structure(arrays), leaves


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)
