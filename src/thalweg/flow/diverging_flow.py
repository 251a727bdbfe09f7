"""Tell a flow that diverges to infinity, where the loss has an infimum but no minimum."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from jaxtyping import Array

from thalweg.problems.programs import distance

DECADES = 4  # of time that decide
STEADY = 10.0  # factor within which curvature times time must stay over all of them
SHRINKS = 0.7  # of the move in the decade before: less is a decay


class DecadeSample(NamedTuple):
    """The state of a flow once in each decade of its time; `work` is that of its steps so far."""

    time: float
    loss: float
    curvature: float
    w: Array
    work: float


def diverges(decades: Sequence[DecadeSample]) -> bool:
    """Return whether the flow moves as far in each decade of time, while the curvature vanishes.

    Where the loss falls towards an infimum that it does not attain, parameters grow like the
    logarithm of time or faster, and the curvature falls like the inverse of time: that of a
    minimum would stay. A minimum without curvature is approached in ever shorter moves.
    """
    if len(decades) <= DECADES:
        return False
    last = decades[-DECADES - 1 :]
    rates = [sample.time * sample.curvature for sample in last]
    if not (min(rates) > 0 and max(rates) < STEADY * min(rates)):
        return False
    moves = [distance(after.w, before.w) for before, after in pairwise(last)]
    steady = all(later > SHRINKS * earlier for earlier, later in pairwise(moves))
    return steady and all(after.loss < before.loss for before, after in pairwise(last))
