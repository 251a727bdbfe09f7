"""One experiment of a reproduction."""

from dataclasses import dataclass

from thalweg.runs.experiment import DescentExperiment

CHOSEN = 3
"""How many step sizes a network has that chooses them by itself."""


@dataclass(frozen=True)
class Case:
    """One experiment of a reproduction, with what a reader is told of it."""

    folder: str  # name of its run folder
    title: str
    description: str
    config: DescentExperiment
    # Gradients, each called by itself, that take as long as one of its runs does: to estimate the
    # time, from an earlier one (of the larger networks guessed).
    evaluations: float
