"""Tell a flow that goes on for ever: to infinity, where the loss has no minimum, or in a drift."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from jaxtyping import Array

from thalweg.flow.step import FlowState
from thalweg.problems.programs import distance, norm

DECADES = 4  # of time that decide
STEADY = 10.0  # factor within which curvature times time must stay over all of them
SHRINKS = 0.7  # of the move in the decade before: less is a decay
DRIFT = 1e-3  # of the size of w: by which a flow at rest would move in as much time again


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


def is_drifting(decades: Sequence[DecadeSample], state: FlowState, size: float) -> bool:
    """Return whether a flow as slow as rounding has been moving, and would, in as much time again.

    `size` is that of the parameters. What rounding alone would seem to lead to has not been gone.
    """
    before = [sample.w for sample in decades if sample.time < 0.5 * float(state.time)]
    if not before:
        return False
    moved, would = distance(state.w, before[-1]), float(state.time) * norm(state.velocity)
    return min(moved, would) > DRIFT * size and moved > 0.5 * would
