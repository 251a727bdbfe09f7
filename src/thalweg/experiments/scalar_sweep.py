"""Where gradient descent on scalar networks ends, from many starts with many step sizes."""

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import Meta

from thalweg.basics.checks import Depth, Few, FewOrNone, Moderate, Natural, Positive
from thalweg.basics.lazy import Lazy
from thalweg.basics.memory import check_fits
from thalweg.runs.experiment import Study

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from thalweg.scalar import ScalarSweep
else:  # slow to import, and options are read before
    np, xr = Lazy("numpy"), Lazy("xarray")

_BINS = 220  # of step size times sharpness, from 0 to 2.2
_MOST_RUNS = 20_000_000  # for each depth: some 700 MB of results
# Products of such numbers can still be computed.
_Spread = Annotated[float, Meta(gt=0, le=50, description="positive, and at most 50")]


@dataclass(frozen=True, kw_only=True)
class ScalarSweepStudy(Study):
    """Gradient descent on scalar networks from many random starts with many step sizes.

    Attributes
    ----------
    depth
        Numbers of layers, each at least 2.
    step_size
        Step sizes. Left out: so many equal steps for each depth, up to 1.2 times the step size
        beyond which no minimum is stable.
    step_sizes
        How many step sizes, where they are left out.
    starts
        Number of random starts for each depth.
    spread
        The parameters at the start are positive: their logarithms are normal, with mean 0 and this
        standard deviation.
    steps
        Number of steps of gradient descent.
    gfs_steps
        Compare the GFS sharpness at each of the first so many steps (0: at none).
    margin
        A run is said to end at the edge of stability if step size times sharpness is at most so
        much below 2.
    target
        The number that the product of the parameters is fitted to (positive).
    seed
        Seed of the random starts (an integer of at least 0).
    """

    name: ClassVar[str] = "scalar-sweep"
    summary: ClassVar[str] = "where gradient descent ends, for many starts and step sizes"
    figure: ClassVar[str] = "scalar-sweep"

    depth: tuple[Depth, ...] = (2, 3, 5)
    step_size: tuple[Moderate, ...] = ()
    step_sizes: Few = 96
    starts: Few = 1200
    spread: _Spread = 0.5
    steps: Few = 4000
    gfs_steps: FewOrNone = 50
    margin: Positive = 0.1
    target: Moderate = 1.0
    seed: Natural = 0

    @property
    def title(self) -> str:
        """Starts and steps."""
        return (
            f"scalar networks: gradient descent, {self.steps:,} steps from each of "
            f"{self.starts:,} starts, by step size"
        )

    def check(self) -> None:
        """As for every experiment: depths, step sizes, numbers."""
        super().check()
        if not self.depth:
            raise ValueError("depth is empty: give at least one number of layers")
        sizes = len(self.step_size) or self.step_sizes
        if self.starts * sizes > _MOST_RUNS:
            raise ValueError(
                f"{self.starts} starts with {sizes} step sizes are more than {_MOST_RUNS:,} runs: "
                "choose fewer, or call thalweg.scalar_sweep, which stores nothing"
            )
        check_fits(
            4 * 8 * self.starts * max(self.depth), "the starts", "choose fewer, or less deep"
        )

    def compute(self) -> "tuple[xr.Dataset, list[dict[str, Any]]]":
        """Sweep each depth; runs are step sizes, depth by depth."""
        from thalweg.scalar import scalar_sweep

        parts, runs = [], []
        for depth in self.depth:
            random = np.random.default_rng([self.seed, depth])
            scale = self.target ** (1 / depth)
            ws = scale * np.exp(self.spread * random.standard_normal((self.starts, depth)))
            sizes = self._step_sizes(depth)
            found = scalar_sweep(ws, sizes, self.steps, target=self.target, margin=self.margin)
            if self.gfs_steps:
                first = scalar_sweep(ws, sizes, self.gfs_steps, target=self.target, gfs_every=1)
                found = replace(
                    found, falls=first.falls, rises=first.rises, undecided=first.undecided
                )
            parts.append(_dataset(found))
            runs += [self._summary(found, run) for run in range(len(sizes))]
        return xr.concat(parts, "run"), runs

    def report(self, summary: dict[str, Any]) -> str:
        """Return one line for each depth."""
        lines = []
        for depth in self.depth:
            runs = [run for run in summary["runs"] if run["depth"] == depth]
            total = self.starts * len(runs)
            ended = {name: sum(run["outcomes"][name] for run in runs) for name in _names()}
            counts = {
                name: sum(run["monotonicity"][name] for run in runs)
                for name in ("falls", "rises", "undecided")
            }
            shares = ", ".join(
                f"{_in_words(name)} {count / total:.1%}" for name, count in ended.items() if count
            )
            lines.append(f"depth {depth}: {total:,} runs: {shares}")
            if measured := sum(counts.values()):
                lines.append(
                    f"  GFS sharpness, at {measured:,} steps: fell at "
                    f"{counts['falls'] / measured:.3%}, rose at {counts['rises'] / measured:.4%}, "
                    f"could not be told at {counts['undecided'] / measured:.3%}"
                )
        lines.append(f"{summary['seconds']:.1f} s, {summary['gradient_evaluations']:,} gradients")
        return "\n".join(lines)

    def _summary(self, found: "ScalarSweep", run: int) -> dict[str, Any]:
        """Return the entry of one step size; `final` holds medians over the stable minima."""
        size = float(found.step_size[run])
        stable = np.isfinite(found.sharpness[run])
        counts = {
            name: int(getattr(found, name)[run].sum()) for name in ("falls", "rises", "undecided")
        }
        verdict = "not decreasing" if counts["rises"] else "undecided"
        if counts["falls"] and not counts["rises"] and not counts["undecided"]:
            verdict = "decreasing"
        starts = found.outcome.shape[1]
        return {
            "step_size": size,
            "threshold": 2 / size,
            "depth": found.depth,
            "steps": found.steps,
            "status": "completed",
            "starts": starts,
            "outcomes": dict(zip(_names(), found.counts()[run].tolist(), strict=True)),
            "final": {
                "loss": _median(found.loss[run][stable]),
                "sharpness": _median(found.sharpness[run][stable]),
                "gfs_sharpness": None,
                "gfs_sharpness_error": None,
            },
            "monotonicity": {"verdict": verdict, **counts, "largest_possible_rise": None},
            "gradient_evaluations": starts * (self.steps + 2 * self.gfs_steps),
        }

    def _step_sizes(self, depth: int) -> "np.ndarray":
        if self.step_size:
            return np.unique(self.step_size)
        flattest = depth * self.target ** (2 - 2 / depth)
        return np.linspace(0, 1.2 * 2 / flattest, self.step_sizes + 1)[1:]


def _dataset(found: "ScalarSweep") -> "xr.Dataset":
    """Return what is stored of one depth, the histogram that the figure shows included."""
    scaled = found.step_size[:, None] * found.sharpness
    edges = np.linspace(0, 2.2, _BINS + 1)
    density = np.stack([np.histogram(row, edges)[0] for row in scaled])
    axes = ("run", "start")
    compressed: dict[str, Any] = {"zlib": True, "complevel": 4}
    each = {
        name: (axes, getattr(found, name), {"long_name": text}, compressed)
        for name, text in {
            "outcome": "number of the outcome",
            "loss": "loss at the last step",
            "sharpness": "sharpness at the last step, at a stable minimum",
            "falls": "measured steps at which the GFS sharpness fell",
            "rises": "measured steps at which the GFS sharpness rose",
            "undecided": "measured steps at which it could not be told",
        }.items()
    }
    number = len(found.step_size)
    return xr.Dataset(
        {
            **each,
            "outcome_count": (("run", "outcome_name"), found.counts()),
            "density": (
                ("run", "scaled_sharpness"),
                density,
                {"long_name": "stable minima with step size times sharpness in a bin"},
            ),
        },
        {
            "step_size": ("run", found.step_size),
            "threshold": ("run", 2 / found.step_size),
            "depth": ("run", np.full(number, found.depth)),
            "largest_stable": (
                "run",
                np.full(number, 2 / (found.depth * found.target ** (2 - 2 / found.depth))),
                {"long_name": "step size beyond which no minimum is stable"},
            ),
            "outcome_name": [_in_words(name) for name in _names()],
            "scaled_sharpness": 0.5 * (edges[1:] + edges[:-1]),
        },
    )


def _median(values: "np.ndarray") -> float | None:
    return float(np.median(values)) if values.size and math.isfinite(values.sum()) else None


def _names() -> list[str]:
    from thalweg.scalar import ScalarOutcome

    return [kind.name for kind in ScalarOutcome]


def _in_words(name: str) -> str:
    return name.lower().replace("_", " ")
