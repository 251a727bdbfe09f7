"""The steps by which a flow was followed, kept so that a neighbour can be followed by the same.

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

from thalweg.flow.finish import Finish
from thalweg.problems import FlatProblem

Step = Callable[[FlatProblem, Array, Array, Array], Array]
"""`step(problem, w, length, bound)`: one step of a method, with no choice left to make."""


@dataclass(frozen=True)
class Landing:
    """Where the sharpness was taken: after how many steps, by which finish, and where that led.

    `work` is that of the finish, in units of one gradient.
    """

    after: int
    finish: Finish | None
    work: float
    w: Array


@dataclass(frozen=True)
class Course:
    """How one flow was followed.

    Attributes
    ----------
    step
        The method's step.
    lengths, bounds
        Of the steps: their lengths in time and the spectral bounds they relied on, shape `(N,)`.
    landings
        The last landing, and those before it that told its error, last one first.
    stopping
        The part of the change between the landings that is taken as the error of stopping.
    work
        Of a step, on average, in units of one gradient.
    """

    step: Step
    lengths: NDArray[np.float64]
    bounds: NDArray[np.float64]
    landings: tuple[Landing, ...]
    stopping: float
    work: float


@dataclass(frozen=True)
class Courses:
    """A coarse and a fine course from one start, and what their difference tells.

    `extrapolation` and `integration` are the parts of the difference of the two sharpness values
    that are added to the finer one, and taken as the error that this leaves.
    """

    coarse: Course
    fine: Course
    extrapolation: float
    integration: float
