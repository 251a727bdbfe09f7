"""The runs of an experiment split over jobs, as those of an array of a cluster."""

from dataclasses import dataclass
from typing import TypeVar

from thalweg.runs.experiment import DescentExperiment, Experiment

ExperimentT = TypeVar("ExperimentT", bound=Experiment)


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Which part of the runs this job does.

    Attributes
    ----------
    index
        Number of this job, from 0: with --of N it does every N-th of the runs (seeds and step
        sizes), in a folder of its own.
    of
        How many jobs share the runs.
    """

    index: int | None = None
    of: int | None = None

    def part_of(self, config: ExperimentT) -> ExperimentT:
        """Return the configuration of this job, or raise a ValueError."""
        if not isinstance(config, DescentExperiment) or self == Jobs():
            return config
        if self.index is None or self.of is None:
            raise ValueError("index and of belong together: give both, as --index 0 --of 4")
        return config.part(self.index, self.of)
