"""Sweeps of gradient descent on scalar networks: very many starts and step sizes at once.

The array cores are `descent` and `outcomes`; here runs are cut into chunks that stay in cache.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array
from numpy.typing import ArrayLike, NDArray

from thalweg.problems.checks import check_not_traced
from thalweg.scalar.calls import fill
from thalweg.scalar.outcomes import RunOutcomes, ScalarOutcome, classified_runs

_CACHE = 2**17  # bytes that one chunk may work on
_CHUNKS_PER_CALL = 16
_TYPES = (np.int8, np.float64, np.float64, np.int32, np.int32, np.int32, np.int32)
_BYTES = sum(np.dtype(kind).itemsize for kind in _TYPES)


@dataclass(frozen=True, eq=False)
class ScalarSweep:
    """How runs of gradient descent ended: `R` step sizes from each of `N` starts.

    Attributes
    ----------
    step_size
        Shape `(R,)`.
    depth, target, steps, gfs_every, margin
        As asked for.
    outcome
        Number of an `ScalarOutcome`, shape `(R, N)`.
    loss
        At the last step, shape `(R, N)`.
    sharpness
        At the last step, shape `(R, N)`; NaN for runs that are not at a stable minimum.
    loss_rises
        At how many steps the loss rose, shape `(R, N)`.
    falls, rises, undecided
        At how many of the measured steps the GFS sharpness fell for certain, rose for certain, or
        could not be told within its error bar, shape `(R, N)`. Counted are the steps that begin
        before the run has settled and end in the orthant of the start.
    """

    step_size: NDArray[np.float64]
    depth: int
    target: float
    steps: int
    gfs_every: int
    margin: float
    outcome: NDArray[np.int8]
    loss: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    loss_rises: NDArray[np.int32]
    falls: NDArray[np.int32]
    rises: NDArray[np.int32]
    undecided: NDArray[np.int32]

    def counts(self) -> NDArray[np.int64]:
        """Return how many runs of each step size have each outcome, shape `(R, outcomes)`."""
        return np.stack([np.sum(self.outcome == kind, axis=1) for kind in ScalarOutcome], axis=1)


def scalar_sweep(
    starts: ArrayLike,
    step_size: ArrayLike,
    steps: int,
    *,
    target: float = 1.0,
    gfs_every: int = 0,
    margin: float = 0.1,
    memory_limit: int = 2**30,
    report: Callable[[int], None] | None = None,
) -> ScalarSweep:
    """Run gradient descent on a scalar network from every start with every step size.

    `w' = w - step_size ∇L(w)`, `L(w) = ½ (w_1 ⋯ w_D - target)²`. The depth `D` is that of the
    starts. Idea of asking whether the GFS sharpness (that of the gradient flow solution) falls at
    every step: Kreisler, Shpigel Nacson, Soudry, Carmon, ICML 2023, arXiv 2305.13064.

    Parameters
    ----------
    starts
        Shape `(N, D)`, `D` at least 2.
    step_size
        A positive number, or `R` of them.
    steps
        Number of steps.
    target
        Positive.
    gfs_every
        Compare the GFS sharpness at every so many steps (1: at each); 0: never. One GFS sharpness
        takes about as long as 50 steps.
    margin
        A run whose loss has risen ends at the edge of stability, rather than flatter, if
        `step_size * sharpness` is at least `2 - margin`.
    memory_limit
        Bytes that the results may take: 33 for each run.
    report
        Called with the number of runs done so far, from worker threads.

    Returns
    -------
    ScalarSweep
        NumPy arrays.

    Raises
    ------
    ValueError
        An argument that makes no sense, results beyond `memory_limit`, or JAX without float64
        (whose rounding the losses and error bars of a sweep need).

    Examples
    --------
    >>> import jax
    >>> with jax.enable_x64(True):
    ...     sweep = scalar_sweep([[1.4, 0.6], [1.9, 0.5]], [0.3, 0.8], steps=3000)
    >>> [[ScalarOutcome(one).name for one in run] for run in sweep.outcome]
    [['MONOTONE', 'MONOTONE'], ['EDGE_OF_STABILITY', 'LEFT_ORTHANT']]
    """
    ws, sizes = _checked(starts, step_size, steps, target, gfs_every, margin)
    number = len(sizes) * len(ws)
    if number * _BYTES > memory_limit:
        raise ValueError(
            f"{number} runs need {number * _BYTES} bytes for their results, more than memory_limit "
            f"{memory_limit}: sweep over fewer starts or step sizes at a time, or raise it"
        )
    every = gfs_every or steps
    blocks, rest = divmod(steps, every) if gfs_every else (0, steps)
    out = _run_all(ws, sizes, (target, margin, (blocks, every, rest)), report)
    shaped = {name: array.reshape(len(sizes), len(ws)) for name, array in out._asdict().items()}
    return ScalarSweep(sizes, ws.shape[1], target, steps, gfs_every, margin, **shaped)


def _checked(
    starts: ArrayLike, step_size: ArrayLike, steps: int, target: float, every: int, margin: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    check_not_traced(starts, step_size)
    if not jax.config.read("jax_enable_x64"):
        raise ValueError("a sweep needs float64: switch on jax_enable_x64 first")
    ws, sizes = np.asarray(starts, np.float64), np.atleast_1d(np.asarray(step_size, np.float64))
    if ws.ndim != 2 or ws.shape[0] < 1 or ws.shape[1] < 2 or not np.all(np.isfinite(ws)):
        raise ValueError(
            "starts must be finite numbers of shape (N, D), D at least 2, "
            f"but have shape {ws.shape}"
        )
    if sizes.ndim != 1 or not sizes.size or not np.all((sizes > 0) & np.isfinite(sizes)):
        raise ValueError("step_size must be a positive finite number, or a list of such numbers")
    for name, value in (("target", target), ("margin", margin)):
        if not 0 < value < np.inf:
            raise ValueError(f"{name} must be positive and finite, got {value}")
    for name, count, least in (("steps", steps, 1), ("gfs_every", every, 0)):
        if not (isinstance(count, int | np.integer) and least <= count < 2**31):
            raise ValueError(f"{name} must be an integer from {least} to 2**31 - 1, got {count}")
    return ws, sizes


@partial(jax.jit, static_argnames="with_flows")
def _call(starts: Array, sizes: Array, constants: Any, *, with_flows: bool) -> RunOutcomes:
    """Descend in runs, shape `(chunks, D, chunk)`, one chunk after the other."""

    def one(chunk: tuple[Array, Array]) -> RunOutcomes:
        return classified_runs(*chunk, *constants, with_flows=with_flows)

    found: RunOutcomes = jax.lax.map(one, (starts, sizes))
    return RunOutcomes(*(values.reshape(-1) for values in found))


def _run_all(
    ws: NDArray[np.float64],
    sizes: NDArray[np.float64],
    constants: Any,
    report: Callable[[int], None] | None,
) -> Any:
    """Descend in all runs, numbered with the starts of each step size together."""
    (starts, depth), number = ws.shape, len(ws) * len(sizes)
    # A step holds the iterate, its partial products, and some eight numbers.
    chunk = min(max(64, _CACHE // (8 * (4 * depth + 8)) // 64 * 64), number)
    block = chunk * min(_CHUNKS_PER_CALL, -(-number // chunk))
    out: Any = RunOutcomes(*(np.empty(number, kind) for kind in _TYPES))  # type: ignore[arg-type]

    def run_block(first: int) -> RunOutcomes:
        runs = np.minimum(np.arange(first, first + block), number - 1)
        part = ws[runs % starts].reshape(-1, chunk, depth).transpose(0, 2, 1)
        of_each = sizes[runs // starts].reshape(-1, chunk)
        found: RunOutcomes = _call(part, of_each, constants, with_flows=constants[2][0] > 0)
        return found

    fill(out, run_block, block, report)
    return out
