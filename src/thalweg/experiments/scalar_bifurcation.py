"""What gradient descent on a scalar network ends up on, past the last stable minimum."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import Meta

from thalweg.basics.checks import Depth, Few, Moderate, Natural, Positive
from thalweg.basics.lazy import Lazy
from thalweg.basics.memory import check_fits
from thalweg.runs.experiment import Study

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
else:  # slow to import, and options are read before
    np, xr = Lazy("numpy"), Lazy("xarray")

_LONGEST_PERIOD = 32
_Several = Annotated[int, Meta(ge=2, lt=2**31, description="at least 2, and below 2^31")]
_Kept = Annotated[
    int, Meta(gt=_LONGEST_PERIOD, lt=2**31, description=f"at least {_LONGEST_PERIOD + 1}")
]
_SAME = 1e-6  # relative; iterates this close are the same point of a cycle


@dataclass(frozen=True, kw_only=True)
class ScalarBifurcation(Study):
    """The bifurcation diagram of gradient descent on a scalar network.

    Attributes
    ----------
    depth
        Number of layers, at least 2.
    step_size
        Step sizes, each a column of the diagram. Left out: so many equal steps between the two
        ends.
    step_sizes
        How many step sizes, where they are left out.
    lowest
        The lower end, as step size times the sharpness of the flattest minimum (at 2 lies the last
        stable minimum).
    highest
        The upper end, in the same units.
    starts
        Number of random starts for each step size.
    steps
        Steps of gradient descent before the iterates that are kept.
    kept
        Number of iterates kept of each start.
    target
        The number that the product of the parameters is fitted to (positive).
    seed
        Seed of the random starts (an integer of at least 0).
    """

    name: ClassVar[str] = "scalar-bifurcation"
    summary: ClassVar[str] = "period doubling and chaos past the last stable minimum"
    figure: ClassVar[str] = "scalar-bifurcation"

    depth: Depth = 4
    step_size: tuple[Moderate, ...] = ()
    step_sizes: _Several = 1000
    lowest: Positive = 1.8
    highest: Positive = 3.3
    starts: Few = 4
    steps: Few = 50_000
    kept: _Kept = 256
    target: Moderate = 1.0
    seed: Natural = 0

    @property
    def title(self) -> str:
        """Depth and starts."""
        return (
            f"scalar network of depth {self.depth}: iterates after {self.steps:,} steps from "
            f"{self.starts} starts for each step size"
        )

    def check(self) -> None:
        """As for every experiment: depth, step sizes, numbers."""
        super().check()
        if self.lowest >= self.highest:
            raise ValueError(f"lowest must be below highest, got {self.lowest} and {self.highest}")
        runs = self.starts * (len(self.step_size) or self.step_sizes)
        numbers = 3 * runs * self.kept * self.depth
        check_fits(8 * numbers, "the iterates", "choose fewer step sizes, starts or kept")

    def compute(self) -> "tuple[xr.Dataset, list[dict[str, Any]]]":
        """Follow the starts for every step size."""
        from thalweg.scalar.orbits import scalar_orbits

        flattest = self.depth * self.target ** (2 - 2 / self.depth)
        sizes = np.unique(
            self.step_size or np.linspace(self.lowest, self.highest, self.step_sizes) / flattest
        )
        shape = (len(sizes), self.starts)
        random = np.random.default_rng(self.seed)
        balanced = self.target ** (1 / self.depth)
        ws = balanced * (1 - 0.1 * random.random((*shape, self.depth)))
        orbits = scalar_orbits(
            ws.reshape(-1, self.depth),
            np.repeat(sizes, self.starts),
            skip=self.steps,
            keep=self.kept,
            target=self.target,
        )
        product = np.prod(orbits.w, axis=2).reshape(*shape, self.kept)
        alive = np.all(np.isfinite(product), axis=2)
        exponent = np.where(alive, orbits.exponent.reshape(shape), np.nan)
        axes = ("run", "start")
        dataset = xr.Dataset(
            {
                "product": (
                    (*axes, "step"),
                    np.where(alive[:, :, None], product, np.nan),
                    {"long_name": "product of the parameters"},
                    {"zlib": True, "complevel": 4},
                ),
                "period": (axes, _periods(product, alive), {"long_name": "0: none up to 32"}),
                "exponent": (axes, exponent, {"long_name": "largest Lyapunov exponent"}),
            },
            {
                "step_size": ("run", sizes),
                "threshold": ("run", 2 / sizes),
                "scaled_step_size": ("run", sizes * flattest),
                "step": np.arange(self.steps, self.steps + self.kept),
            },
            {"depth": self.depth, "target": self.target},
        )
        return dataset, [self._summary(dataset.isel(run=run)) for run in range(len(sizes))]

    def report(self, summary: dict[str, Any]) -> str:
        """Return the ranges of step sizes on which runs do the same."""
        lines, last = [], ""
        flattest = self.depth * self.target ** (2 - 2 / self.depth)
        for run in summary["runs"]:
            if run["behaviour"] != last:
                last = run["behaviour"]
                lines.append(f"from η λ* = {run['step_size'] * flattest:.4f}: {last}")
        few = (
            lines if len(lines) <= 12 else [*lines[:11], f"... and {len(lines) - 11} more changes"]
        )
        work = f"{summary['seconds']:.1f} s, {summary['gradient_evaluations']:,} gradients"
        return "\n".join([*few, work])

    def _summary(self, data: "xr.Dataset") -> dict[str, Any]:
        """Return the entry of one step size, by the first of its starts that did not diverge."""
        alive = np.flatnonzero(np.isfinite(data["exponent"].values))
        size, entry = float(data["step_size"]), data.isel(start=int(alive[0]) if alive.size else 0)
        period, exponent = int(entry["period"]), float(entry["exponent"])
        behaviour = "diverges" if not alive.size else f"period {period}" if period else "irregular"
        if behaviour == "irregular" and exponent > 0:
            behaviour = "chaos"
        loss = 0.5 * (float(entry["product"][-1]) - self.target) ** 2
        return {
            "step_size": size,
            "threshold": 2 / size,
            "steps": self.steps + self.kept,
            "status": "completed" if alive.size else "diverged",
            "final": {
                "loss": loss,
                "sharpness": None,
                "gfs_sharpness": None,
                "gfs_sharpness_error": None,
            },
            "behaviour": behaviour,
            "period": period or None,
            "lyapunov_exponent": exponent,
            "diverged_starts": self.starts - int(alive.size),
            "gradient_evaluations": self.starts * (self.steps + self.kept),
        }


def _periods(product: "np.ndarray", alive: "np.ndarray") -> "np.ndarray":
    """Return the shortest period of each orbit, shape `product.shape[:-1]`; 0 where none is."""
    found = np.zeros(alive.shape, np.int32)
    with np.errstate(invalid="ignore", over="ignore"):
        scale = np.max(np.abs(product), axis=-1)
        for period in range(_LONGEST_PERIOD, 0, -1):
            change = np.max(np.abs(product[..., period:] - product[..., :-period]), axis=-1)
            found[alive & (change <= _SAME * scale)] = period
    return found
