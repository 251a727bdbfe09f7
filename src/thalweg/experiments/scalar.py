"""A product of a few numbers fitted to one target: everything in closed form, in seconds."""

import importlib.util
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg.basics.checks import MOST_LAYERS, Depth, Finite, Moderate
from thalweg.runs.experiment import DescentExperiment

if TYPE_CHECKING:
    import xarray as xr

_INIT = (3.0, 1.5, 0.4, 0.2)


@dataclass(frozen=True, kw_only=True)
class Scalar(DescentExperiment):
    """A scalar network: the product of its parameters fitted to a target, in closed form.

    Attributes
    ----------
    depth
        Number of layers, at least 2: that of the start where one is given, else 4. For every depth
        a start is made, whose largest parameter is 3 and whose product is 0.36. (Several side by
        side: `thalweg run scalar-depths`.)
    init
        The parameters at the start, one number per layer.
    target
        The number that their product is fitted to (positive).
    certify
        Check the conditions under which the behaviour of the run is proved or checked, step by
        step: the certificate is printed, marked in the figure and put into summary.json.
    rigorous
        Certify in interval arithmetic (needs python-flint).
    """

    name: ClassVar[str] = "scalar"
    summary: ClassVar[str] = "a scalar network of depth 4, closed form (seconds)"

    # From this start the GFS sharpness is 10.19, above the threshold 8: the run has to give it up.
    step_size: tuple[float, ...] = (0.25,)
    steps: int = 200
    sharpness_every: int = 1
    gfs_every: int = 2
    depth: Depth | None = None
    init: tuple[Finite, ...] | None = None
    target: Moderate = 1.0
    certify: bool = False
    rigorous: bool = False

    def __post_init__(self) -> None:
        """Settle depth and start by each other, so that what is stored says both."""
        depth = self.depth if self.depth is not None else len(self.init or _INIT)
        object.__setattr__(self, "depth", depth)
        object.__setattr__(self, "init", _default_start(depth) if self.init is None else self.init)

    @property
    def title(self) -> str:
        """Depth and target."""
        return f"scalar network of depth {self.depth}, target {self.target:g}, squared loss"

    def check(self) -> None:
        """As for every experiment, and the start."""
        super().check()
        assert self.init is not None
        if len(self.init) != self.depth:
            raise ValueError(
                f"init holds {len(self.init)} numbers, but depth is {self.depth}: "
                "leave out one of the two, or give one number per layer"
            )
        if self.rigorous and not self.certify:
            raise ValueError("rigorous is about the certificate: ask for certify as well")
        if self.rigorous and importlib.util.find_spec("flint") is None:
            raise ValueError("rigorous needs python-flint: install it, or leave rigorous out")

    def conclude(
        self, dataset: "xr.Dataset", summary: dict[str, Any]
    ) -> "tuple[xr.Dataset, dict[str, Any]]":
        """Certify each run that took a step, if that was asked for."""
        if not self.certify:
            return dataset, summary
        from thalweg.scalar import certify

        assert self.init is not None  # settled by __post_init__
        runs, marks = [], []
        for number, run in enumerate(summary["runs"]):
            if run["steps"] < 1:
                runs.append(run)
                continue
            certificate = certify(
                self.init,
                run["step_size"],
                run["steps"],
                target=self.target,
                rigorous=self.rigorous,
            )
            runs.append(run | {"certificate": {"text": str(certificate), **certificate.summary()}})
            marks += [(number, step, label) for step, label in certificate.marks]
        axis = "mark"
        columns = {
            name: (axis, [mark[column] for mark in marks])
            for column, name in enumerate(("mark_run", "mark_step", "mark_label"))
        }
        return dataset.assign(columns) if marks else dataset, summary | {"runs": runs}

    def build(self) -> tuple[Any, Any]:
        """Return the scalar network and its start."""
        import jax.numpy as jnp

        from thalweg.scalar import ScalarNetwork

        assert self.depth is not None
        return ScalarNetwork(self.depth, self.target), jnp.asarray(self.init, float)


def _default_start(depth: int) -> tuple[float, ...]:
    """Return the start for a depth: a geometric sequence from 3 with the product of `_INIT`."""
    if depth == len(_INIT):
        return _INIT
    if not 2 <= depth <= MOST_LAYERS:
        return ()  # for `check` to refuse
    product, largest = math.prod(_INIT), _INIT[0]
    exponents = depth * (depth - 1) / 2
    ratio = math.exp((math.log(product) - depth * math.log(largest)) / exponents)
    return tuple(round(largest * ratio**i, 6) for i in range(depth))
