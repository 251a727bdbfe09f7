"""The steps by which a flow was integrated, kept so that a neighbour can be integrated by them.

Solved on the same steps, with the same numbers of stages and of iterations, two starts that are
close to each other end with nearly the same error: what is left of it in a difference is smaller
than in either value, about by the ratio of their distance to the distance over which the error
changes. Steps that adapt themselves anew would lose that.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from thalweg.flow.linearized_limit import LinearizedSolver
from thalweg.problems import FlatProblem

Steps = Callable[[FlatProblem, Array, NDArray[np.float64], NDArray[np.float64]], Array]
"""`steps_again(problem, w, lengths, bounds)`: steps of a method, with no choice left to make."""


@dataclass(frozen=True)
class Endpoint:
    """Where the sharpness was taken: after how many steps, by which linear solve, at which `w`.

    `work` is that of the linear solve, in units of one gradient.
    """

    steps: int
    solver: LinearizedSolver | None
    work: float
    w: Array


@dataclass(frozen=True)
class StepRecord:
    """How one flow was integrated.

    Attributes
    ----------
    steps_again
        Takes the method's steps.
    lengths, bounds
        Of the steps: their lengths in time and the spectral bounds they relied on, shape `(N,)`.
    endpoints
        The last endpoint, and those before it that gave its error, last one first.
    stopping
        The part of the change between the endpoints that is taken as the error of stopping.
    work
        Of a step, on average, in units of one gradient.
    """

    steps_again: Steps
    lengths: NDArray[np.float64]
    bounds: NDArray[np.float64]
    endpoints: tuple[Endpoint, ...]
    stopping: float
    work: float


@dataclass(frozen=True)
class StepRecordPair:
    """A coarse and a fine record from one start, and what their difference says.

    Attributes
    ----------
    coarse, fine
        The records.
    beside
        After how many steps of the fine one its sharpness is to be compared with the coarse one's:
        at one of its endpoints, and at the last one of the coarse record.
    extrapolation, integration
        The parts of that difference that are added to the finer value, and taken as the error that
        this leaves.
    """

    coarse: StepRecord
    fine: StepRecord
    beside: int
    extrapolation: float
    integration: float
