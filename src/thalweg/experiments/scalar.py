"""A product of a few numbers fitted to one target: everything in closed form, in seconds."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from thalweg.experiments.experiment import Experiment, check_positive


@dataclass(frozen=True, kw_only=True)
class Scalar(Experiment):
    """A scalar network: the product of its parameters fitted to a target, in closed form.

    Attributes
    ----------
    start
        The parameters at the start, one number per layer: at least two.
    target
        The number that their product is fitted to (positive).
    """

    name: ClassVar[str] = "scalar"
    summary: ClassVar[str] = "a scalar network of depth 4, closed form (seconds)"

    # From this start the GFS sharpness is 10.19, above the threshold 8: the run has to give it up.
    step_size: tuple[float, ...] = (0.25,)
    steps: int = 200
    sharpness_every: int = 1
    gfs_every: int = 2
    gfs_start: int = 0
    start: tuple[float, ...] = (3.0, 1.5, 0.4, 0.2)
    target: float = 1.0

    def check(self) -> None:
        """As for every experiment, and the start."""
        super().check()
        check_positive("target", self.target)
        if len(self.start) < 2 or not all(math.isfinite(number) for number in self.start):
            raise ValueError(f"start must hold at least two finite numbers, got {self.start}")

    def build(self) -> tuple[Any, Any]:
        """Return the scalar network and its start."""
        import jax.numpy as jnp

        from thalweg.problems import ScalarNetwork

        return ScalarNetwork(len(self.start), self.target), jnp.asarray(self.start, float)
