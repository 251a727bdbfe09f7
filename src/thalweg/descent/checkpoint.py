"""The complete state of a descent: what it takes to go on as if nothing had happened."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, PyTree
from numpy.typing import NDArray

from thalweg.descent.checkpoint_file import read_value, write_value
from thalweg.descent.measurements import Reading
from thalweg.descent.starts import one_of


class RunStatus(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    DIVERGED = "diverged"
    STOPPED = "stopped"


class CheckpointError(ValueError):
    """The checkpoint does not belong to the descent that should go on from it."""


@dataclass(frozen=True)
class Outcome:
    """How one run ended: its last parameters, its status with a sentence, its steps."""

    w: PyTree
    status: RunStatus
    message: str
    steps: int


@dataclass(frozen=True)
class Checkpoint:
    """A descent between two compiled chunks, or in the middle of a measurement.

    Work, time and what was recorded are those of all runs.
    """

    # Step sizes, the steps at which losses are recorded, those of each measurement: what makes two
    # descents the same.
    axes: list[NDArray[Any]]
    outcomes: list[Outcome]  # of the runs that have ended
    step: int
    first_loss: float
    iterate: list[Array]  # in order: parameters, loss, gradient, state of the optimiser
    measured: int  # how many of the measurements that are due at `step` have been made
    warm_starts: dict[int, Any]  # what each measurement has asked to be given again
    measurement_state: Any  # in words of the measurement in hand; `None` for its beginning
    ahead: dict[tuple[int, int], Any]  # what is known of coming ones, by step and number,
    under_way: dict[tuple[int, int], Any]  # and how far those have got that are solved just now
    gradient_evaluations: float
    seconds: float
    losses: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]
    first_readings: dict[int, Any]  # at the start, which all runs share
    value_axes: list[NDArray[np.int64]]  # of `values`, for each measurement: with refined steps
    readings: dict[int, dict[int, Reading]]  # of measurements that are refined, by their steps

    def check_fits(
        self, axes: list[NDArray[Any]], iterate: PyTree, values: Mapping[str, NDArray[Any]]
    ) -> None:
        """Raise a `CheckpointError` unless this is one of a descent with these axes."""
        shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(iterate)]
        same = len(self.axes) == len(axes) and all(map(np.array_equal, self.axes, axes))
        same = same and set(self.values) == set(values)
        if not same or [(leaf.shape, leaf.dtype) for leaf in self.iterate] != shapes:
            raise CheckpointError(
                "the checkpoint is that of another descent: give the same problem, step sizes, "
                "steps and measurements as before, or begin anew"
            )


def write_checkpoint(
    path: str | os.PathLike[str], checkpoint: Checkpoint, w0: PyTree, stamp: Any = None
) -> None:
    """Write a checkpoint of a descent from `w0`, and a stamp (JSON values) that says whose it is.

    Raises
    ------
    TypeError
        A measurement has a warm start of a type that cannot be written.
    """
    write_value(Path(path), (stamp, checkpoint), like=one_of(w0))


def read_checkpoint(path: str | os.PathLike[str], w0: PyTree) -> tuple[Checkpoint, Any]:
    """Read a checkpoint of a descent from `w0`, and its stamp.

    Raises
    ------
    ValueError
        The file is damaged, or its parameters have another structure than `w0`.
    OSError
        The file cannot be opened.
    """
    match read_value(Path(path), like=one_of(w0)):
        case (stamp, Checkpoint() as checkpoint):
            return checkpoint, stamp
    raise ValueError(f"{path} holds no checkpoint")
