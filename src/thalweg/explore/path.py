"""What there is to see of one run on a scalar network: iterates, where flow from them ends, why."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from thalweg.explore.setting import MOST_STEPS, Setting
from thalweg.scalar.calls import nan_checks_off
from thalweg.scalar.trace import followed
from thalweg.verdict import Monotonicity, monotonicity

FAR = 1e6  # coordinates beyond which a run is not shown


@dataclass(frozen=True)
class Path:
    """A run up to its last step, or to the last that can be shown; arrays over its iterates.

    Attributes
    ----------
    w, limit
        The iterates and where gradient flow from them ends, shape `(T, D)`.
    loss, sharpness
        At the iterates.
    gfs_sharpness, error
        The sharpness at the limit, NaN where that is a saddle, and its error bar.
    theorem
        What is proved of the step from each iterate.
    lost
        Whether the run left what can be shown.
    """

    w: NDArray[np.float64]
    limit: NDArray[np.float64]
    loss: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    gfs_sharpness: NDArray[np.float64]
    error: NDArray[np.float64]
    theorem: list[str]
    lost: bool

    @property
    def verdict(self) -> Monotonicity:
        """Return the verdict on the GFS sharpness up to the first saddle."""
        known = _until(np.isfinite(self.gfs_sharpness))
        return monotonicity(self.gfs_sharpness[:known], self.error[:known])


def path(setting: Setting) -> Path:
    """Follow a run, and find all that is known in closed form along it."""
    # As many steps as can be asked for, whatever was: it is compiled once for each depth.
    with nan_checks_off():
        found: Any = jax.device_get(
            followed(
                jnp.asarray(setting.init, jnp.float64),
                jnp.asarray(setting.step_size, jnp.float64),
                MOST_STEPS,
                jnp.asarray(1.0, jnp.float64),
            )
        )
    near = np.all(np.abs(found.w) < FAR, axis=1)  # not NaN, either
    shown = min(_until(near), setting.steps + 1)
    flow, w = found.flow, found.w[:shown]
    with np.errstate(over="ignore"):
        loss = 0.5 * (np.prod(w, axis=1) - 1) ** 2
    return Path(
        w=w,
        limit=flow.limit[:, :shown].T,
        loss=loss,
        sharpness=found.steepness[:shown] / setting.step_size,
        gfs_sharpness=np.where(flow.is_saddle, np.nan, flow.sharpness)[:shown],
        error=flow.error[:shown],
        theorem=_theorems(found)[:shown],
        lost=shown <= setting.steps,
    )


def _until(holds: NDArray[np.bool_]) -> int:
    """Return how many hold at the beginning."""
    return len(holds) if holds.all() else int(np.argmin(holds))


def _theorems(found: Any) -> list[str]:
    one, many = found.one_step, found.convergence
    cases = [many.holds, one.by_gap, one.by_sharpness, found.flow.is_saddle]
    texts = [
        "theorem 3: converges from here, φ never rises",
        "theorem 1 (gap condition): this step does not raise φ",
        "theorem 2 (sharpness condition): this step does not raise φ",
        "the flow ends in a saddle: no φ",
    ]
    found_texts = np.select(cases, texts, "no theorem applies: this step may raise φ")
    return [str(text) for text in found_texts]
