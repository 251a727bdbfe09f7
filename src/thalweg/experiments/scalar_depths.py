"""Scalar networks of several depths, side by side."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from thalweg.basics.checks import Count, Depth, Moderate, Positive
from thalweg.experiments.scalar import Scalar
from thalweg.runs.experiment import Study
from thalweg.runs.wording import describe_run

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True, kw_only=True)
class ScalarDepths(Study):
    """Scalar networks of several depths side by side: a run for each depth and step size.

    Attributes
    ----------
    depth
        Numbers of layers, each at least 2; the starts are those of `thalweg run scalar`.
    step_size
        Step sizes of gradient descent, the same at every depth. Left out: at each depth the one at
        which the stability threshold is `share` of the GFS sharpness at the start.
    share
        The stability threshold, in units of the GFS sharpness at the start.
    steps
        Number of steps of gradient descent.
    gfs_every
        Measure the GFS sharpness at every so many steps.
    target
        The number that the product of the parameters is fitted to (positive).
    """

    name: ClassVar[str] = "scalar-depths"
    summary: ClassVar[str] = "scalar networks of depth 2, 3 and 5 side by side (seconds)"
    figure: ClassVar[str] = "run"

    depth: tuple[Depth, ...] = (2, 3, 5)
    step_size: tuple[Moderate, ...] = ()
    share: Positive = 0.8
    steps: Count = 200
    gfs_every: Count = 1
    target: Moderate = 1.0

    @property
    def title(self) -> str:
        """Target and loss."""
        return f"scalar networks, target {self.target:g}, squared loss"

    def check(self) -> None:
        """As for every experiment: depths, step sizes, numbers."""
        super().check()
        if not self.depth:
            raise ValueError("depth is empty: give at least one number of layers")
        for depth in set(self.depth):
            self._config(depth, self.step_size or (1.0,)).check()

    def compute(self) -> "tuple[xr.Dataset, list[dict[str, Any]]]":
        """Run gradient descent at every depth with every step size."""
        import xarray as xr

        from thalweg.descent import descend
        from thalweg.runs.summary import summarise, with_rises

        datasets, entries = [], []
        for depth in self.depth:
            problem, start = self._config(depth, (1.0,)).build()
            sharpness = float(problem.flow_limits(start[None]).sharpness[0])
            for size in self.step_size or (2 / (self.share * sharpness),):
                config = self._config(depth, (size,))
                run = descend(
                    problem,
                    start,
                    step_size=size,
                    steps=self.steps,
                    measurements=config.measurements(),
                )
                summary = summarise(self.name, run)
                data = with_rises(run.dataset, summary)
                datasets.append(data.assign_coords(depth=("run", [depth])))
                work = {"depth": depth, "gradient_evaluations": run.gradient_evaluations}
                entries.append(summary["runs"][0] | work)
        return xr.concat(datasets, "run"), entries

    def report(self, summary: dict[str, Any]) -> str:
        """Return a line for each run."""
        lines = [f"depth {run['depth']}, {describe_run(run)}" for run in summary["runs"]]
        return "\n".join([*lines, f"{summary['seconds']:.1f} s"])

    def _config(self, depth: int, sizes: tuple[float, ...]) -> Scalar:
        return Scalar(
            depth=depth,
            step_size=sizes,
            steps=self.steps,
            gfs_every=self.gfs_every,
            target=self.target,
        )
