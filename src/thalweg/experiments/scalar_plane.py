"""The plane of scalar networks of depth two: flow lines, minima, and a zigzagging descent."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from msgspec import Meta

from thalweg.basics.checks import Few, Moderate
from thalweg.basics.lazy import Lazy
from thalweg.basics.memory import check_fits
from thalweg.runs.experiment import Study
from thalweg.runs.wording import describe_run

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
else:  # slow to import, and options are read before
    np, xr = Lazy("numpy"), Lazy("xarray")

_GRID, _POINTS, _LINES = 240, 200, 9
_FAR = 1e6
_Coordinate = Annotated[float, Meta(gt=0, lt=_FAR, description=f"positive, and below {_FAR:g}")]


@dataclass(frozen=True, kw_only=True)
class ScalarPlane(Study):
    """Gradient descent in the plane of a scalar network of depth two, and the flow around it.

    Attributes
    ----------
    init
        The two parameters at the start.
    step_size
        Step size of gradient descent; several numbers are several paths from the same start.
    steps
        Number of steps of gradient descent.
    target
        The number that the product of the two parameters is fitted to (positive).
    """

    name: ClassVar[str] = "scalar-plane"
    summary: ClassVar[str] = "depth two: flow lines, minima and a zigzagging path in the plane"
    figure: ClassVar[str] = "scalar-plane"

    init: tuple[_Coordinate, _Coordinate] = (1.5, 0.65)
    step_size: tuple[Moderate, ...] = (0.85,)
    steps: Few = 60
    target: Moderate = 1.0

    @property
    def title(self) -> str:
        """Depth and target."""
        return f"scalar network of depth 2, target {self.target:g}"

    def check(self) -> None:
        """As for every experiment: start, step sizes, numbers."""
        super().check()
        if not self.step_size:
            raise ValueError("step_size is empty: give at least one positive number")
        numbers = 20 * len(self.step_size) * self.steps
        check_fits(8 * numbers, "the results", "choose fewer steps or step sizes")

    def compute(self) -> "tuple[xr.Dataset, list[dict[str, Any]]]":
        """Follow the paths, and lay out the plane around them."""
        from thalweg.scalar import ScalarNetwork
        from thalweg.scalar.orbits import scalar_orbits

        sizes = np.array(self.step_size)
        starts = np.repeat([self.init], len(sizes), axis=0)
        path = scalar_orbits(starts, sizes, skip=0, keep=self.steps + 1, target=self.target).w
        # What diverges is left out from there on.
        near = np.logical_and.accumulate(np.all(np.abs(path) < _FAR, axis=2), axis=1)
        path = np.where(near[..., None], path, np.nan)
        found = ScalarNetwork(2, self.target).flow_limits(path.reshape(-1, 2))
        axis = ("run", "gfs_step")
        steps = np.arange(self.steps + 1)
        shape = path.shape[:2]
        along = {
            "w": (("run", "step", "coordinate"), path),
            "loss": (("run", "step"), 0.5 * (path[..., 0] * path[..., 1] - self.target) ** 2),
            "sharpness": (("run", "sharpness_step"), _sharpness(path, self.target)),
            "gfs_sharpness": (axis, found.sharpness.reshape(shape)),
            "gfs_sharpness_error": (axis, found.error.reshape(shape)),
            "gfs_status": (axis, np.where(found.is_saddle, 4, 0).reshape(shape)),
        }
        size = 1.08 * max(np.nanmax(path), 1.6 * math.sqrt(self.target))
        size = min(size, 3 * max(*self.init, math.sqrt(self.target)))
        dataset = xr.Dataset(
            {**along, **_plane(size, self.target)},
            {
                "step_size": ("run", sizes),
                "threshold": ("run", 2 / sizes),
                "step": steps,
                "sharpness_step": steps,
                "gfs_step": steps,
            },
            {"target": self.target},
        )
        return dataset, [_summary(dataset.isel(run=run)) for run in range(len(sizes))]

    def report(self, summary: dict[str, Any]) -> str:
        """Return one line for each path."""
        lines = [describe_run(run) for run in summary["runs"]]
        return "\n".join([*lines, f"{summary['seconds']:.1f} s"])


def _sharpness(path: "np.ndarray", target: float) -> "np.ndarray":
    """Return the top eigenvalue of `[[y², 2xy - t], [2xy - t, x²]]`."""
    x, y = path[..., 0], path[..., 1]
    half = (x * x - y * y) / 2
    largest: np.ndarray = (x * x + y * y) / 2 + np.hypot(half, 2 * x * y - target)
    return largest


def _plane(size: float, target: float) -> "dict[str, Any]":
    """Return the GFS sharpness on a grid, flow lines, and the minima `x y = target`."""
    from thalweg.scalar import ScalarNetwork

    axis = np.linspace(0, size, _GRID + 1)[1:]
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    gfs = ScalarNetwork(2, target).flow_limits(points).sharpness.reshape(_GRID, _GRID)
    x = np.geomspace(target / size, size, 2 * _POINTS)
    # Values of x² - y², spread evenly over where flow lines leave the square.
    ends = np.linspace(-1, 1, 2 * _LINES + 1)
    balances = np.sign(ends) * (1 - (1 - np.abs(ends)) ** 2) * size * size
    lines = [_flow_line(balance, size, target) for balance in balances]
    return {
        "plane_axis": (("plane_axis",), axis),
        "plane_gfs_sharpness": (("plane_y", "plane_x"), gfs),
        "flow_line": (("line", "side", "point", "coordinate"), np.array(lines)),
        "minimum": (("minimum_point", "coordinate"), np.stack([x, target / x], axis=1)),
        "minimum_sharpness": (("minimum_point",), x * x + (target / x) ** 2),
    }


def _flow_line(balance: float, size: float, target: float) -> "np.ndarray":
    """Return the two parts of a flow line that end at its minimum: from below, and from above.

    With `x² - y² = b` and `x y = p`: `x² = (b + sqrt(b² + 4 p²)) / 2`.
    """
    far = size * math.sqrt(max(size * size - abs(balance), 0.0))  # the product at the border
    sides = []
    for end in (0.0, max(far, target)):
        p = np.linspace(end, target, _POINTS)
        larger = np.sqrt((abs(balance) + np.sqrt(balance**2 + 4 * p * p)) / 2)
        smaller = np.divide(p, larger, out=np.zeros_like(p), where=larger > 0)
        pair = (larger, smaller) if balance >= 0 else (smaller, larger)
        sides.append(np.stack(pair, axis=1))
    return np.array(sides)


def _summary(data: "xr.Dataset") -> dict[str, Any]:
    from thalweg.verdict import monotonicity

    known = np.flatnonzero(np.isfinite(data["loss"].values))
    last, lost = int(known[-1]), len(known) < data.sizes["step"]
    gfs, error = data["gfs_sharpness"].values[: last + 1], data["gfs_sharpness_error"].values
    return {
        "step_size": float(data["step_size"]),
        "threshold": float(data["threshold"]),
        "steps": last,
        "status": "diverged" if lost else "completed",
        "final": {
            "loss": float(data["loss"][last]),
            "sharpness": float(data["sharpness"][last]),
            "gfs_sharpness": float(gfs[-1]),
            "gfs_sharpness_error": float(error[last]),
        },
        "monotonicity": monotonicity(gfs, error[: last + 1]).summary(),
        "gradient_evaluations": 2 * last + 1,
    }
