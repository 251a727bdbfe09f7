"""Say early that a flow will not settle within its budget, in place of spending all of it.

The work that a flow still needs is forecast from how its moves, and its work, have changed from
decade to decade of its time.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import inf, log, log10

from thalweg.flow.diverging_flow import DecadeSample
from thalweg.problems.programs import distance, norm

EARLY = 0.025  # of the budget, from which on the moves of a stabilised method tell
STIFF = 5e5  # sharpness times time, from which on they tell: before, most flows still settle
DOUBT = 200.0  # by which that forecast, a wide extrapolation, must exceed the budget
FALLING = 0.5  # of the loss of a decade before: with less of a fall, the flow may leave a saddle
LEAST_WORK = 5000.0  # from which on a forecast is worth making
EARLIEST = 0.3  # of the budget, from which on decades tell: before, a flow may yet do anything
DECADES = 3  # that decide, in none of which the flow may have slowed down
STEADY = 0.8  # of the move in the decade before: less is slower
LEAST_MOVE = 0.01  # of the parameters' norm: less may be a plateau, and says nothing
DECADES_LEFT = 3  # at least, of a flow that has not begun to slow down
TOLERANCES = 2.0  # the work of all tolerances, in units of that of the first


def forecast_by_decades(decades: Sequence[DecadeSample]) -> float:
    """Return the least work with which a flow can settle that moves ever farther; else 0.

    Work is that of all tolerances, in units of one gradient.
    """
    if len(decades) <= DECADES:
        return 0.0
    last = decades[-DECADES - 1 :]
    moves = [distance(after.w, before.w) for before, after in pairwise(last)]
    if not all(move > LEAST_MOVE * norm(last[-1].w) for move in moves):
        return 0.0
    if not all(later > STEADY * earlier for earlier, later in pairwise(moves)):
        return 0.0
    growth = last[-1].work / max(last[-2].work, 1.0)
    return TOLERANCES * last[-1].work * growth**DECADES_LEFT


def forecast_by_pace(last: DecadeSample, time: float, work: float) -> float:
    """Return the work to come one decade on at the pace since `last`, if it doubled; else 0.

    A flow that leaves a saddle is slow for a while: to be asked late.
    """
    if not (work >= 2 * last.work and time > last.time > 0):
        return 0.0
    doublings = min(1 / log10(time / last.time), 100.0)
    return TOLERANCES * work * 2**doublings


def forecast_by_moves(decades: Sequence[DecadeSample], tolerated: float) -> float:
    """Return the least work that a stabilised method may need; 0 where nothing can be said yet.

    Its work grows with the root of time. The way left to go is about the last move; it falls from
    decade to decade as the moves did, and the error of an estimate of the limit like its square.
    """
    if len(decades) < 3 or decades[-1].curvature * decades[-1].time < STIFF:
        return 0.0
    if any(after.loss > FALLING * prior.loss for prior, after in pairwise(decades[-3:])):
        return 0.0
    before, last = (distance(after.w, prior.w) for prior, after in pairwise(decades[-3:]))
    relative = last / max(norm(decades[-1].w), 1e-300)
    if not relative > tolerated > 0:
        return 0.0
    shrinkage = 2 * log(before / last) if before > last else 0.0
    left = log(relative / tolerated) / shrinkage if shrinkage > 0 else inf
    return TOLERANCES * decades[-1].work * 10 ** min(0.5 * left, 100.0) / DOUBT


def pace_of(decades: Sequence[DecadeSample], time: float, work: float) -> str:
    """Say how fast a flow moved of late, and what still grew; `work` is that of its steps."""
    if len(decades) < 2:
        return ""
    before, last = decades[-2:]
    return (
        f"at time {time:.2g}, after {work:,.0f} gradient evaluations in steps, the parameters "
        f"still moved by {distance(last.w, before.w):.2g} in a decade of time, and the sharpness "
        f"went from {before.curvature:.4g} to {last.curvature:.4g}"
    )
